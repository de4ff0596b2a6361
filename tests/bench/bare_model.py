"""The shipped network by itself on ready tensors: no events, no decoding, no Kafka. Argument: samples.

Prints samples a second for each way of running it on this machine's cores, among them the one that is shipped.
"""

import ctypes
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from pipeline.model import onednn
from pipeline.model.bundle import load_bundle
from pipeline.model.compilation import compiled
from pipeline.model.cores import cores
from pipeline.model.network import FusionNetwork
from tests.bench.stub import BATCH

Inputs = tuple[Tensor, Tensor, Tensor]
ROUNDS = 3
# Of glibc's malloc.h: M_MMAP_THRESHOLD and M_TRIM_THRESHOLD, in bytes.
_MALLOC_OPTIONS = {-3: 2 << 20, -1: 8 << 20}


def main(samples: int) -> None:
    """Measures each way `ROUNDS` times, in turn, and prints the best of each."""
    keep_freed_memory()
    network = load_bundle().network
    packed = onednn.packed(network)
    half = load_bundle().network
    half.transformer.bfloat16()
    inputs = random_inputs(BATCH, network)
    ways: dict[str, Callable[[], float]] = {
        "FP32 by oneDNN, a batch split among the cores (as shipped)": lambda: split(packed, inputs, samples),
        "FP32 by oneDNN, each operation split among the cores": lambda: together(packed, inputs, samples),
        "FP32, a batch split among the cores": lambda: split(network, inputs, samples),
        "BF16, a batch split among the cores": lambda: split(half, inputs, samples),
        "FP32 compiled, a batch split among the cores": lambda: split(fast, inputs, samples),
        "FP32 by oneDNN without the features, a batch split among the cores": lambda: transformer_only(
            packed, inputs, samples
        ),
    }
    fast = compiled(network)
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            best[name] = max(best.get(name, 0.0), way())
    sys.stdout.write(json.dumps(best) + "\n")


def keep_freed_memory() -> None:
    """Lets glibc keep a few megabytes of what is freed, which brings the consumer nothing, see ADR 0014.

    Without, a third of a lonely network's time are page faults.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _MALLOC_OPTIONS.items():
            mallopt(option, value)


def random_inputs(batch: int, network: FusionNetwork) -> Inputs:
    """Returns speech, image and sensor of noise, shaped as the network takes them."""
    specs, draw = network.specs, torch.Generator().manual_seed(0)
    return (
        torch.randint(-20_000, 20_000, (batch, specs.speech.samples), generator=draw, dtype=torch.int16),
        torch.randint(0, 256, (batch, specs.image.height, specs.image.width), generator=draw, dtype=torch.uint8),
        torch.randn(batch, specs.sensor.frames, len(specs.sensor.channels), generator=draw),
    )


def split(network: FusionNetwork, inputs: Inputs, samples: int) -> float:
    """Returns samples a second with one thread a core, each taking its part of a batch."""
    torch.set_num_threads(1)
    parts = list(zip(*(tensor.chunk(cores()) for tensor in inputs), strict=True))
    with ThreadPoolExecutor(cores()) as threads:

        def batch() -> None:
            list(threads.map(lambda part: forward(network, part), parts))

        return _rate(batch, samples)


def together(network: FusionNetwork, inputs: Inputs, samples: int) -> float:
    """Returns samples a second when PyTorch itself uses all cores for each operation."""
    torch.set_num_threads(cores())
    return _rate(lambda: forward(network, inputs), samples)


@torch.inference_mode()
def transformer_only(network: FusionNetwork, inputs: Inputs, samples: int) -> float:
    """Returns samples a second on features that are ready, log-mel and all."""
    torch.set_num_threads(1)
    parts = [network.features(*part) for part in zip(*(tensor.chunk(cores()) for tensor in inputs), strict=True)]
    with ThreadPoolExecutor(cores()) as threads:

        def batch() -> None:
            list(threads.map(torch.inference_mode()(lambda part: network.transformer(part, None)), parts))

        return _rate(batch, samples)


@torch.inference_mode()
def forward(network: FusionNetwork, inputs: Inputs) -> None:
    """Classifies one batch, or a part of one."""
    network(*inputs, None)


def _rate(batch: Callable[[], None], samples: int) -> float:
    batch()
    batch()
    begin = time.perf_counter()
    for _ in range(max(1, samples // BATCH)):
        batch()
    return max(1, samples // BATCH) * BATCH / (time.perf_counter() - begin)


if __name__ == "__main__":
    main(int(sys.argv[1]))
