"""Held-out triples for producers: what `trimodal produce digits` publishes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.digits import heldout
from pipeline.digits.clips import LABELS
from pipeline.digits.protocol import Protocol
from pipeline.digits.voices import TEST_SHARES

CHANNELS = ("x", "y")
PEN_RATE = 100.0
"""Frames per second that a replayed pen claims; the material has no times of its own."""


@dataclass(frozen=True, slots=True)
class Triple:
    """One moment: three noisy inputs of the same digit.

    Attributes:
        label: What all three mean, "0" to "9".
        speech: int16 [16000], 16 kHz.
        image: uint8 [32, 32], bright ink on dark.
        pen: float32 [64, 2], channels `CHANNELS`, y upwards.
    """

    label: str
    speech: NDArray[np.int16]
    image: NDArray[np.uint8]
    pen: NDArray[np.float32]


def triples(count: int, seed: int) -> Iterator[Triple]:
    """Draws held-out digits and corrupts them at severity 1. The same count and seed give the same triples."""
    for batch in Protocol(heldout.load(), TEST_SHARES).noisy(count, seed):
        arrays = batch.speech.numpy(), batch.image.numpy(), batch.sensor.numpy()
        for label, speech, image, pen in zip(batch.labels.tolist(), *arrays, strict=True):
            yield Triple(LABELS[label], speech, image, pen)
