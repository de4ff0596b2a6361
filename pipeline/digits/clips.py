"""A spoken digit in memory and on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LABELS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
SAMPLE_RATE = 16_000
LONGEST = 16_000


@dataclass(frozen=True, slots=True)
class Clip:
    """One spoken digit: int16 samples at 16 kHz, its label 0..9 and its voice, written `engine/speaker`."""

    samples: NDArray[np.int16]
    label: int
    voice: str

    @property
    def family(self) -> str:
        """The engine or the kind of recording that the voice belongs to."""
        return self.voice.partition("/")[0]


def save_clips(path: Path, clips: Sequence[Clip]) -> None:
    """Writes clips to an npz file; the file appears whole or not at all."""
    whole = path.with_suffix(".partial.npz")
    np.savez(
        whole,
        samples=np.concatenate([clip.samples for clip in clips]),
        lengths=np.array([len(clip.samples) for clip in clips], np.int32),
        labels=np.array([clip.label for clip in clips], np.uint8),
        voices=np.array([clip.voice for clip in clips]),
    )
    whole.replace(path)


def load_clips(path: Path) -> list[Clip]:
    """Reads what `save_clips` wrote."""
    with np.load(path) as arrays:
        pieces = np.split(arrays["samples"], np.cumsum(arrays["lengths"])[:-1])
        rows = zip(pieces, arrays["labels"], arrays["voices"], strict=True)
        return [Clip(samples, int(label), str(voice)) for samples, label, voice in rows]


def stack(clips: Sequence[Clip]) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Clips as one array.

    Returns:
        Samples [clips, 16000], each clip at the left and zeros after it, and the clips' lengths [clips].
    """
    rows = np.zeros((len(clips), LONGEST), np.int16)
    for row, clip in zip(rows, clips, strict=True):
        row[: len(clip.samples)] = clip.samples
    return rows, np.array([len(clip.samples) for clip in clips], np.int64)
