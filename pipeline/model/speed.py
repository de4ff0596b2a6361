"""How fast a network runs on a device: samples a second, achieved arithmetic and the share of the card's peak."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import psutil
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pipeline.model.bundle import Bundle, load_bundle
from pipeline.model.config import PRESETS
from pipeline.model.cuda import SLOTS
from pipeline.model.network import FusionNetwork
from pipeline.model.runtime import Pending, Runtime
from pipeline.model.samples import Sample
from pipeline.model.specs import InputSpecs

PEAKS = (
    ("B200", 2_250.0),
    ("H200 NVL", 835.5),
    ("H200", 989.4),
    ("GH200", 989.4),
    ("H100 PCIe", 756.5),
    ("H100 NVL", 835.5),
    ("H100", 989.4),
    ("A100", 311.9),
    ("A40", 149.7),
    ("A30", 165.0),
    ("A10G", 70.0),
    ("A10", 125.0),
    ("L40S", 362.1),
    ("L40", 181.1),
    ("L4", 121.0),
    ("V100", 125.0),
    ("T4", 65.0),
    ("RTX 4090", 165.2),
    ("RTX 3090", 71.2),
)
"""Dense FP16 TFLOP/s with FP32 accumulation by words of the card's name, from NVIDIA's data sheets; the first fits."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured at one batch size.

    Attributes:
        batch: Samples in a batch.
        alone: Samples a second through the network, inputs on the device.
        whole: Samples a second from samples on the host to probabilities, several batches in flight.
        flops: Floating-point operations of one sample.
        memory_mb: On a GPU the most that PyTorch had reserved, on a CPU that of the process, MB. The runtime is made
            for the largest batch, so that it says nothing of a smaller one.
    """

    batch: int
    alone: float
    whole: float
    flops: int
    memory_mb: int

    @property
    def batch_ms(self) -> float:
        """Milliseconds that the network takes for a batch."""
        return self.batch / self.alone * 1_000

    @property
    def teraflops(self) -> float:
        """Achieved TFLOP/s of the network alone."""
        return self.alone * self.flops / 1e12


def random_bundle(preset: str) -> Bundle:
    """Returns a bundle of a preset with random weights, for what does not depend on them.

    Raises:
        KeyError: There is no such preset.
    """
    torch.manual_seed(0)
    network = FusionNetwork(PRESETS[preset], InputSpecs()).eval()
    manifest = load_bundle().manifest
    return Bundle(replace(manifest, name=f"random {preset}", network=network.config, preset=preset), network)


def flops_per_sample(network: FusionNetwork) -> int:
    """Returns the floating-point operations of one whole sample; a multiplication with an addition is two."""
    sample = _random_samples(1, network.specs)[0]
    arrays = [array for array in (sample.speech, sample.image, sample.sensor) if array is not None]
    inputs = [torch.from_numpy(array)[None] for array in arrays]
    with counting_flops() as counter:
        network(*inputs, None)
    return int(counter.get_total_flops())


@contextmanager
def counting_flops() -> Iterator[FlopCounterMode]:
    """Counts the operations of what runs in it.

    Attention runs as plain products, since the counter of PyTorch 2.11 does not know the fused attention of a CPU.
    """
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        yield counter


def measure(runtime: Runtime, batches: Sequence[int], seconds: float) -> Iterator[Speed]:
    """Yields how fast a runtime is at several batch sizes, each at most its own; `seconds` for each figure."""
    specs = runtime.bundle.manifest.specs
    flops = flops_per_sample(runtime.bundle.network)
    for batch in batches:
        samples = _random_samples(batch, specs)
        # In this order: `compute` takes the inputs that came last, and a card is faster, and cooler, with zeros.
        whole = batch * _per_second(partial(_stream, runtime, samples), seconds)
        alone = batch * _per_second(partial(runtime.compute, batch), seconds)
        yield Speed(batch, alone, whole, flops, _memory_mb(runtime.device))


def known_peak(card: str) -> float | None:
    """Returns the dense FP16 peak by a card's name; a part of a card (MIG) has none that is known."""
    words = f" {card.replace('-', ' ')} "
    if " MIG " in words:
        return None
    return next((peak for name, peak in PEAKS if f" {name} " in words), None)


def _stream(runtime: Runtime, samples: Sequence[Sample], times: int) -> None:
    """Sends a batch through so many times, the next before the last has come back."""
    pending: deque[Pending] = deque()
    for _ in range(times):
        if len(pending) == SLOTS:
            pending.popleft().result()
        pending.append(runtime.submit(samples))
    for one in pending:
        one.result()


def _per_second(work: Callable[[int], None], seconds: float) -> float:
    """Returns how often a second `work` does what it is asked to do so many times."""
    times = 1
    while True:
        begin = time.perf_counter()
        work(times)
        taken = time.perf_counter() - begin
        if taken >= seconds:
            return times / taken
        times = max(times + 1, math.ceil(times * min(10.0, 1.2 * seconds / taken)))


def _random_samples(count: int, specs: InputSpecs) -> list[Sample]:
    draw = np.random.default_rng(0)
    return [
        Sample(
            draw.integers(-20_000, 20_000, specs.speech.samples, np.int16),
            draw.integers(0, 256, (specs.image.height, specs.image.width), np.uint8),
            draw.standard_normal((specs.sensor.frames, len(specs.sensor.channels)), np.float32),
        )
        for _ in range(count)
    ]


def _memory_mb(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) >> 20
    return int(psutil.Process().memory_info().rss) >> 20
