from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Generator

from pipeline.digits.clips import Clip
from pipeline.digits.data import Material


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Batches this small are fastest on one thread, above all beside other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def generator() -> Generator:
    return Generator().manual_seed(3)


@pytest.fixture
def tones() -> torch.Tensor:
    """Four 440 Hz tones of 0.25 to 0.55 s, int16 [4, 16000], at the left."""
    time = np.arange(16_000) / 16_000
    rows = [np.where(time < length, np.sin(2 * np.pi * 440 * time) * 20_000, 0) for length in (0.25, 0.35, 0.45, 0.55)]
    return torch.from_numpy(np.stack(rows).astype(np.int16))


@pytest.fixture
def tone_lengths() -> torch.Tensor:
    return torch.tensor([4_000, 5_600, 7_200, 8_800])


@pytest.fixture
def make_material() -> Callable[[list[str]], Material]:
    """A tiny material: for each voice one tone a digit, and five images and pens a digit."""

    def make(voices: list[str]) -> Material:
        rng = np.random.default_rng(0)
        time = np.arange(6_000) / 16_000
        clips = tuple(
            Clip((np.sin(2 * np.pi * (200 + 150 * digit) * time) * 16_000).astype(np.int16), digit, voice)
            for voice in voices
            for digit in range(10)
        )
        labels = np.repeat(np.arange(10, dtype=np.uint8), 5)
        images = np.zeros((50, 20, 20), np.uint8)
        for row, label in enumerate(labels):
            images[row, 2 * label : 2 * label + 2] = 255
        pens = rng.integers(0, 101, (50, 8, 2)).astype(np.uint8)
        return Material(clips, images, labels, pens, labels)

    return make
