"""Triples like those of `pipeline.digits.replay`, made up."""

from collections.abc import Iterator

import numpy as np

from pipeline.digits.replay import Triple


def made_up(count: int, seed: int = 0) -> Iterator[Triple]:
    random = np.random.default_rng(seed)
    for n in range(count):
        yield Triple(
            label=str(n % 10),
            speech=random.integers(-9_000, 9_000, 1_600).astype(np.int16),
            image=random.integers(0, 256, (32, 32)).astype(np.uint8),
            pen=random.normal(size=(64, 2)).astype(np.float32),
        )
