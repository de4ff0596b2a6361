"""How batches get through the network: plainly on a CPU; pinned buffers and CUDA graphs on a GPU."""

import copy
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from pipeline.model.buffers import Buffers, allocate, fill
from pipeline.model.bundle import Bundle
from pipeline.model.network import FusionNetwork
from pipeline.model.samples import Sample

Logits = npt.NDArray[np.float32]

_SLOTS = 2  # one is filled and copied while the other is computed
_WARM_UP_RUNS = 3  # before capture, for the libraries' own set-up, as PyTorch's CUDA graphs notes advise


class Engine(Protocol):
    """Answers any number of samples, one batch at a time."""

    def logits(self, samples: Sequence[Sample]) -> Logits:
        """Returns float32 [samples, classes].

        Raises:
            WrongShape: A sample does not fit the input specs.
            RuntimeError: What PyTorch raises, out of memory among it.
        """
        ...


class CpuEngine:
    """Runs the network in FP32 on batches of whatever size comes, up to `batch_size`."""

    def __init__(self, bundle: Bundle, batch_size: int) -> None:
        self._network = bundle.network
        self._buffers = allocate(batch_size, bundle.manifest.specs, torch.device("cpu"))

    @torch.inference_mode()
    def logits(self, samples: Sequence[Sample]) -> Logits:
        """Returns float32 [samples, classes]; see `Engine`."""
        capacity = len(self._buffers.present)
        answers = []
        for start in range(0, len(samples), capacity):
            chunk = samples[start : start + capacity]
            fill(self._buffers, chunk)
            answers.append(self._network(*self._buffers.first(len(chunk))).logits.numpy())
        return np.concatenate(answers)


class _Slot:
    """One batch on its way: pinned host buffers, device buffers, and a captured graph for each batch size.

    A slot's graphs share a memory pool. That is safe because they run on one stream and the logits of each are
    copied out on that stream before the next starts.
    """

    def __init__(self, network: FusionNetwork, sizes: Sequence[int], stream: torch.cuda.Stream) -> None:
        capacity, classes = max(sizes), network.config.classes
        self.host = allocate(capacity, network.specs, torch.device("cpu"), pinned=True)
        self.device = allocate(capacity, network.specs, stream.device)
        self.answers = torch.zeros(capacity, classes, pin_memory=True)
        self.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.rows = 0
        self._network, self._stream = network, stream
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, torch.Tensor]] = {}

    def capture(self, size: int) -> None:
        """Records the network's kernels for a batch size."""
        inputs = self.device.first(size)
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_UP_RUNS):
                self._network(*inputs)
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            logits = self._network(*inputs).logits
        self._graphs[size] = graph, logits

    def launch(self, samples: Sequence[Sample], copies: torch.cuda.Stream) -> None:
        """Copies samples to the device and starts the network; returns without waiting for either."""
        fill(self.host, samples)
        self.rows = len(samples)
        size = min(size for size in self._graphs if size >= self.rows)
        with torch.cuda.stream(copies):
            _copy(self.host.first(size), self.device.first(size))
            self.copied.record(copies)
        graph, logits = self._graphs[size]
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(self.copied)
            graph.replay()
            self.answers[:size].copy_(logits, non_blocking=True)
            self.done.record(self._stream)

    def collect(self) -> Logits:
        """Waits for the batch and returns its logits, float32 [rows, classes]."""
        self.done.synchronize()
        answers: Logits = self.answers[: self.rows].numpy().copy()
        return answers


class CudaEngine:
    """Runs the network on a GPU.

    Batches are padded to one of a few sizes, each captured as a CUDA graph. The copy of a batch overlaps with the
    computation of the one before, so hand over several batches' worth of samples at once under load.
    """

    @torch.inference_mode()
    def __init__(self, bundle: Bundle, batch_size: int, device: torch.device, *, half_precision: bool) -> None:
        network = copy.deepcopy(bundle.network).to(device)
        if half_precision:
            network.half_precision()
        with torch.cuda.device(device):
            self._copies = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            compute = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._capacity = batch_size
            sizes = graph_sizes(batch_size)
            self._slots = [_Slot(network, sizes, compute) for _ in range(_SLOTS)]
            torch.cuda.synchronize()
            # Largest first, so that the smaller graphs find their memory in the pool.
            for size in sizes:
                for slot in self._slots:
                    slot.capture(size)

    @torch.inference_mode()
    def logits(self, samples: Sequence[Sample]) -> Logits:
        """Returns float32 [samples, classes]; see `Engine`."""
        answers: list[Logits] = []
        free, flying = deque(self._slots), deque[_Slot]()
        try:
            for start in range(0, len(samples), self._capacity):
                if not free:
                    free.append(flying.popleft())
                    answers.append(free[0].collect())
                slot = free.popleft()
                slot.launch(samples[start : start + self._capacity], self._copies)
                flying.append(slot)
            answers.extend(slot.collect() for slot in flying)
        except BaseException:
            torch.cuda.synchronize(self._slots[0].device.present.device)
            raise
        return np.concatenate(answers)


def graph_sizes(batch_size: int) -> list[int]:
    """Returns the batch sizes that are captured: the full one, quarters of it, and 1; largest first."""
    sizes = [batch_size]
    while sizes[-1] > 1:
        sizes.append(max(1, sizes[-1] // 4))
    return sizes


def _copy(source: Buffers, target: Buffers) -> None:
    for host, device in zip(source, target, strict=True):
        device.copy_(host, non_blocking=True)
