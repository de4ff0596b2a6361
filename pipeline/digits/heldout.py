"""The held-out digits that come with the repository: what every published figure is measured on.

Speech is one FLAC file with an index beside it; `README.md` in the folder names sources and licences.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile

from pipeline.digits.clips import SAMPLE_RATE, Clip
from pipeline.digits.data import Material

FOLDER = Path(__file__).parent / "heldout"
TAKES = {"kokoro": 2, "espeak": 2, "flite": 6, "festival": 4, "pico": 5, "piper": 10, "recorded": 1}
"""How many clips of each voice and digit are kept; the repository has to stay small."""


@lru_cache(maxsize=2)
def load(folder: Path = FOLDER) -> Material:
    """Reads the held-out digits.

    Raises:
        FileNotFoundError: The folder is not whole.
    """
    absent = [name for name in ("speech.flac", "digits.npz") if not (folder / name).exists()]
    if absent:
        raise FileNotFoundError(f"{folder} lacks {', '.join(absent)}; restore the folder from the repository")
    samples, rate = soundfile.read(folder / "speech.flac", dtype="int16")
    if rate != SAMPLE_RATE:
        raise ValueError(f"{folder / 'speech.flac'} has {rate} samples per second instead of {SAMPLE_RATE}")
    with np.load(folder / "digits.npz") as arrays:
        pieces = np.split(samples, np.cumsum(arrays["clip_lengths"])[:-1])
        rows = zip(pieces, arrays["clip_labels"], arrays["clip_voices"], strict=True)
        clips = tuple(Clip(piece, int(label), str(voice)) for piece, label, voice in rows)
        return Material(clips, arrays["images"], arrays["image_labels"], arrays["pens"], arrays["pen_labels"])


def save(folder: Path, material: Material) -> None:
    """Writes a test split as `load` reads it, with at most `TAKES` clips of a voice and digit."""
    kept = replace(material, clips=tuple(_few(material.clips)))
    folder.mkdir(parents=True, exist_ok=True)
    samples = np.concatenate([clip.samples for clip in kept.clips])
    soundfile.write(folder / "speech.flac", samples, SAMPLE_RATE, subtype="PCM_16")
    np.savez_compressed(
        folder / "digits.npz",
        clip_lengths=np.array([len(clip.samples) for clip in kept.clips], np.int32),
        clip_labels=np.array([clip.label for clip in kept.clips], np.uint8),
        clip_voices=np.array([clip.voice for clip in kept.clips]),
        images=kept.images,
        image_labels=kept.image_labels,
        pens=kept.pens,
        pen_labels=kept.pen_labels,
    )


def _few(clips: Sequence[Clip]) -> list[Clip]:
    taken: dict[tuple[str, int], int] = {}
    kept = []
    for clip in clips:
        number = taken.get((clip.voice, clip.label), 0)
        if number < TAKES[clip.family]:
            taken[clip.voice, clip.label] = number + 1
            kept.append(clip)
    return kept
