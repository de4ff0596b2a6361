"""How batches get through the network: what every engine offers, and the plain one for a CPU."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from pipeline.model import onednn
from pipeline.model.buffers import Buffers, allocate, fill
from pipeline.model.bundle import Bundle
from pipeline.model.compilation import compiled
from pipeline.model.cores import part_size
from pipeline.model.network import FusionNetwork
from pipeline.model.samples import Sample

Logits = npt.NDArray[np.float32]

_SMALLEST_PART = 4  # samples; fewer are not worth another thread


class Flight(Protocol):
    """One batch on its way through the network."""

    def collect(self) -> Logits:
        """Waits for the batch; returns float32 [samples, classes]. Raises as `Engine.launch` does."""
        ...


class Engine(Protocol):
    """Takes batches through the network. One thread at a time may use it and its flights."""

    def launch(self, samples: Sequence[Sample]) -> Flight:
        """Starts a batch of one sample up to the engine's batch size; does not wait for those on their way.

        Raises:
            WrongShape: A sample does not fit the input specs.
            RuntimeError: What PyTorch raises, out of memory among it.
        """
        ...

    def compute(self, rows: int, times: int) -> None:
        """Takes what the input buffers hold through the network, so many times, and waits. For measuring."""
        ...

    def land(self) -> None:
        """Waits for all flights and launches no more: none needs the engine's memory now. Raises as `launch` does."""
        ...


class CpuEngine:
    """Runs the network in FP32 on batches of whatever size comes, up to `batch_size`.

    A batch is split among `threads` threads, each of which takes its part through the whole network on one core: a
    small network's operations are too short to be split themselves. See docs/adr/0014-a-batch-split-among-cores.md.
    """

    def __init__(self, bundle: Bundle, batch_size: int, threads: int = 1, *, compile_network: bool = False) -> None:
        self._network = _fastest(bundle.network, compile_network=compile_network)
        self._specs = bundle.manifest.specs
        self._threads = threads
        self._capacity = self._part(batch_size)
        self._own = threading.local()
        self._workers = ThreadPoolExecutor(threads, thread_name_prefix="network")

    def launch(self, samples: Sequence[Sample]) -> Flight:
        """Starts a batch; see `Engine`."""
        size = self._part(len(samples))
        parts = [samples[start : start + size] for start in range(0, len(samples), size)]
        return _CpuFlight([self._workers.submit(self.logits, part) for part in parts])

    def compute(self, rows: int, times: int) -> None:
        """Computes with zeros or what came last; see `Engine`."""
        size = self._part(rows)
        parts = [min(size, rows - start) for start in range(0, rows, size)]
        for part in [self._workers.submit(self._compute, part, times) for part in parts]:
            part.result()

    def land(self) -> None:
        """Waits until no thread is busy."""
        self._workers.shutdown()

    @torch.inference_mode()
    def logits(self, samples: Sequence[Sample]) -> Logits:
        """Returns float32 [samples, classes] of a part of a batch; raises as `Engine.launch` does."""
        buffers = self._own_buffers()
        fill(buffers, samples)
        speech, image, sensor, present = buffers.first(len(samples))
        complete = all(sample.is_complete for sample in samples)
        logits: Logits = self._network(speech, image, sensor, None if complete else present).logits.numpy()
        return logits

    @torch.inference_mode()
    def _compute(self, rows: int, times: int) -> None:
        speech, image, sensor, _ = self._own_buffers().first(rows)
        for _ in range(times):
            self._network(speech, image, sensor, None)

    def _part(self, rows: int) -> int:
        return part_size(rows, self._threads, _SMALLEST_PART)

    def _own_buffers(self) -> Buffers:
        if not hasattr(self._own, "buffers"):
            self._own.buffers = allocate(self._capacity, self._specs, torch.device("cpu"))
        buffers: Buffers = self._own.buffers
        return buffers


def _fastest(network: FusionNetwork, *, compile_network: bool) -> FusionNetwork:
    if compile_network:
        return compiled(network)
    return onednn.packed(network) if onednn.is_available() else network


class _CpuFlight:
    def __init__(self, parts: Sequence[Future[Logits]]) -> None:
        self._parts = parts

    def collect(self) -> Logits:
        return np.concatenate([part.result() for part in self._parts])
