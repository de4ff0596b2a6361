"""Random inputs and networks with random weights: nothing here needs the trained bundle."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
import torch
from torch import Tensor

from pipeline.model.bundle import Bundle, load_bundle, save_bundle
from pipeline.model.config import PRESETS
from pipeline.model.manifest import Manifest
from pipeline.model.network import FusionNetwork
from pipeline.model.samples import Sample
from pipeline.model.specs import InputSpecs


class Inputs(NamedTuple):
    speech: Tensor
    image: Tensor
    sensor: Tensor


def random_inputs(batch: int, seed: int = 0) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    return Inputs(
        torch.randint(-20_000, 20_000, (batch, 16_000), generator=generator, dtype=torch.int16),
        torch.randint(0, 256, (batch, 32, 32), generator=generator, dtype=torch.uint8),
        torch.randn(batch, 64, 2, generator=generator),
    )


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are fastest on one thread, above all beside other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def network() -> FusionNetwork:
    """The small network with random weights and used batch norms, ready to answer."""
    torch.manual_seed(0)
    network = FusionNetwork(PRESETS["small"], InputSpecs())
    for seed in range(3):
        network(*random_inputs(8, seed), torch.ones(8, 3, dtype=torch.bool))
    return network.eval()


LABELS = tuple("0123456789")


def save(
    folder: Path,
    network: FusionNetwork,
    *,
    labels: tuple[str, ...] = LABELS,
    precision: Literal["float32", "float16"] = "float32",
) -> Manifest:
    return save_bundle(
        folder,
        network,
        name="random",
        version="1",
        labels=labels,
        temperatures=(1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7),
        metrics={"accuracy": 0.1},
        precision=precision,
    )


@pytest.fixture
def bundle_folder(tmp_path: Path, network: FusionNetwork) -> Path:
    save(tmp_path, network)
    return tmp_path


@pytest.fixture
def bundle(bundle_folder: Path) -> Bundle:
    return load_bundle(bundle_folder)


def random_samples(count: int, seed: int = 0) -> list[Sample]:
    """Samples of every presence subset in turn."""
    speech, image, sensor = (tensor.numpy() for tensor in random_inputs(count, seed))
    return [
        Sample(
            speech=speech[row] if subset & 1 else None,
            image=image[row] if subset & 2 else None,
            sensor=sensor[row] if subset & 4 else None,
        )
        for row, subset in zip(range(count), itertools.cycle(range(1, 8)), strict=False)
    ]
