"""Text-to-speech programs and packages that speak the digits.

They are tools of training; nothing here is needed to serve. Every engine says whether it is there and how to
install it; synthesis goes on without the missing ones.
"""

import importlib
import importlib.util
import io
import shutil
import subprocess
import tempfile
import wave
import zipfile
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True, slots=True)
class Sound:
    """What an engine said: samples in -1..1 and their rate in Hz."""

    samples: NDArray[np.float32]
    rate: int


class Engine(Protocol):
    """A speaker of digits. `takes` is how often a voice says each of them."""

    name: str
    takes: int
    install: str

    def found(self) -> bool:
        """Whether the engine can be used on this machine."""

    def voices(self) -> list[str]:
        """The names of the engine's speakers."""

    def speak(self, voice: str, digit: int, rng: Random) -> Sound:
        """Says one digit, with rate, pitch and accent drawn from `rng`."""


def decode(audio: bytes) -> Sound:
    """Reads a whole WAV file, also one whose header was streamed and promises more than there is."""
    try:
        samples, rate = soundfile.read(io.BytesIO(audio), dtype="float32")
        return Sound(samples, int(rate))
    except soundfile.LibsndfileError:
        with wave.open(io.BytesIO(audio)) as streamed:
            raw = streamed.readframes(1 << 24)
            pcm = np.frombuffer(raw[: len(raw) // 2 * 2], "<i2")
            return Sound((pcm / np.float32(32_768)).astype(np.float32), streamed.getframerate())


class Espeak:
    """espeak-ng: formant synthesis; every voice variant with several English accents."""

    name = "espeak"
    takes = 4
    install = "apt-get install espeak-ng"
    accents = (
        "en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc",
    )  # fmt: skip
    # fmt: off
    effects: ClassVar = frozenset(
        {
            "Storm", "Tweaky", "UniRobot", "anikaRobot", "announcer", "croak", "fast", "grandma",
            "grandpa", "kaukovalta", "klatt", "klatt2", "klatt3", "klatt4", "klatt5", "klatt6",
            "robosoft", "robosoft2", "robosoft3", "robosoft4", "robosoft5", "robosoft6",
            "robosoft7", "robosoft8", "whisper", "whisperf", "AnxiousAndy", "Demonic", "Mr",
        }
    )
    # fmt: on

    def found(self) -> bool:
        """Whether the program is there."""
        return shutil.which("espeak-ng") is not None

    def voices(self) -> list[str]:
        """All variants that sound like people."""
        listed = subprocess.run(["espeak-ng", "--voices=variant"], capture_output=True, text=True, check=True).stdout
        names = {part.removeprefix("!v/") for line in listed.splitlines() for part in line.split() if "!v/" in part}
        return sorted(names - self.effects)

    def speak(self, voice: str, digit: int, rng: Random) -> Sound:
        """Says one digit in a random English accent."""
        accent = rng.choice(self.accents)
        options = ["-v", f"{accent}+{voice}", "-s", str(rng.randint(110, 210)), "-p", str(rng.randint(20, 80))]
        command = ["espeak-ng", *options, "--stdout", WORDS[digit]]
        return decode(subprocess.run(command, capture_output=True, check=True).stdout)


class Flite:
    """flite: one diphone and three unit or cluster voices."""

    name = "flite"
    takes = 10
    install = "apt-get install flite"
    pitches: ClassVar = {"kal16": 105, "awb": 130, "rms": 95, "slt": 170}

    def found(self) -> bool:
        """Whether the program is there."""
        return shutil.which("flite") is not None

    def voices(self) -> list[str]:
        """The built-in voices; `kal` of 8 kHz is the same man as `kal16`."""
        return sorted(self.pitches)

    def speak(self, voice: str, digit: int, rng: Random) -> Sound:
        """Says one digit at a random tempo and pitch."""
        tempo, pitch = rng.uniform(0.75, 1.35), self.pitches[voice] * rng.uniform(0.85, 1.25)
        prosody = ["--setf", f"duration_stretch={tempo:.2f}", "--setf", f"int_f0_target_mean={pitch:.0f}"]
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            subprocess.run(["flite", "-voice", voice, *prosody, "-t", WORDS[digit], "-o", file.name], check=True)
            return decode(Path(file.name).read_bytes())


class Festival:
    """festival: two diphone voices and one HTS voice of Debian's festvox packages."""

    name = "festival"
    takes = 6
    install = "apt-get install festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts"
    known: ClassVar = {"kal": "kal_diphone", "ked": "ked_diphone", "slt": "cmu_us_slt_arctic_hts"}

    def found(self) -> bool:
        """Whether the program and at least one of its voices are there."""
        return shutil.which("festival") is not None and bool(self.voices())

    def voices(self) -> list[str]:
        """The installed ones of the known voices."""
        installed = {path.name for path in Path("/usr/share/festival/voices").glob("*/*")}
        return [name for name, folder in self.known.items() if folder in installed]

    def speak(self, voice: str, digit: int, rng: Random) -> Sound:
        """Says one digit at a random tempo."""
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            program = (
                f"(begin (voice_{self.known[voice]})(Parameter.set 'Duration_Stretch {rng.uniform(0.75, 1.35):.2f})"
                f'(set! said (SynthText "{WORDS[digit]}"))(utt.save.wave said "{file.name}" \'riff))'
            )
            subprocess.run(["festival", "--batch", program], capture_output=True, check=True)
            return decode(Path(file.name).read_bytes())


class Pico:
    """SVOX Pico, from PyPI's py-nanotts: two women, American and British."""

    name = "pico"
    takes = 10
    install = "pip install py-nanotts"

    def found(self) -> bool:
        """Whether the package is there."""
        return importlib.util.find_spec("py_nanotts") is not None

    def voices(self) -> list[str]:
        """The two English voices."""
        return ["en-US", "en-GB"]

    def speak(self, voice: str, digit: int, rng: Random) -> Sound:
        """Says one digit at a random tempo and pitch."""
        speaker = importlib.import_module("py_nanotts").NanoTTS()
        tempo, pitch = rng.uniform(0.75, 1.3), rng.uniform(0.75, 1.25)
        audio = speaker.speak(f"{WORDS[digit]}.", voice=voice, speed=tempo, pitch=pitch)
        return Sound(np.frombuffer(audio, "<i2").astype(np.float32) / np.float32(32_768), 16_000)


class Recordings:
    """People: the prompts of Debian's Asterisk package and of PyPI's captcha. One take each; used in tests only."""

    name = "recorded"
    takes = 1
    install = "apt-get install asterisk-core-sounds-en-wav; pip download --no-deps -d PACKAGES captcha==0.7.1"
    prompts = Path("/usr/share/asterisk/sounds/en_US_f_Allison/digits")

    def __init__(self, packages: Path) -> None:
        self.wheels = sorted(packages.glob("captcha-*.whl"))

    def found(self) -> bool:
        """Whether any of the two packages is there."""
        return bool(self.voices())

    def voices(self) -> list[str]:
        """The speakers whose package is there."""
        present = {"allison": self.prompts.is_dir(), "captcha": bool(self.wheels)}
        return [name for name, there in present.items() if there]

    def speak(self, voice: str, digit: int, rng: Random) -> Sound:  # noqa: ARG002  (there is one take to choose from)
        """The one recording of this speaker and digit."""
        if voice == "allison":
            return decode((self.prompts / f"{digit}.wav").read_bytes())
        with zipfile.ZipFile(self.wheels[-1]) as wheel:
            return decode(wheel.read(f"captcha/data/{digit}/default.wav"))
