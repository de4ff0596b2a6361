"""How batches get through the network on a GPU: several in flight, copied beside the computation, as CUDA graphs."""

import copy
from collections import deque
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from pipeline.model.buffers import Buffers, allocate, fill
from pipeline.model.bundle import Bundle
from pipeline.model.compilation import compiled
from pipeline.model.engines import Logits
from pipeline.model.network import FusionNetwork
from pipeline.model.samples import Sample

SLOTS = 3  # one is computed, one is copied and waits, one is filled by the host
_WARM_UP_RUNS = 3  # before capture, for the libraries' own set-up, as PyTorch's CUDA graphs notes advise


class CudaEngine:
    """Runs the network on a GPU.

    A batch's way, of which only the first step takes the calling thread's time:

    1. `fill` writes the samples into a slot's page-locked buffers.
    2. The copy stream brings them to the slot's buffers on the device, beside the computation of earlier batches.
    3. The compute stream moves them to the network's inputs, replays the graph, and sends the logits back.
    4. `collect` waits for the slot's event, asleep, so that other threads have the processor.

    Batches are padded to one of a few sizes, each captured as a CUDA graph; those without missing inputs have graphs
    of their own, without an attention mask. Everything is captured here, before the first batch.
    """

    @torch.inference_mode()
    def __init__(
        self,
        bundle: Bundle,
        batch_size: int,
        device: torch.device,
        *,
        half_precision: bool,
        compile_network: bool = False,
    ) -> None:
        network = copy.deepcopy(bundle.network).to(device)
        if half_precision:
            network.half_precision()
        self._device = device
        # By default cuDNN takes FP32 convolutions in TF32; "float32" means FP32, as it does for the matrix products.
        with torch.cuda.device(device), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            self._copies = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._graphs = _Graphs(network, graph_sizes(batch_size), device, compile_network=compile_network)
            self._slots = deque(_Slot(network, batch_size, device) for _ in range(SLOTS))
            # The slots were zeroed on the default stream, which the copy stream does not wait for.
            torch.cuda.synchronize()

    @torch.inference_mode()
    def launch(self, samples: Sequence[Sample]) -> "_CudaFlight":
        """Starts a batch; see `pipeline.model.engines.Engine`. When all slots are taken, the oldest lands first."""
        torch.cuda.set_device(self._device)  # each thread has its own current device
        slot = self._slots[0]
        slot.land()
        fill(slot.host, samples)
        size = self._graphs.size_for(len(samples))
        with torch.cuda.stream(self._copies):
            _copy(slot.host.first(size), slot.device.first(size))
            slot.copied.record()
        with torch.cuda.stream(self._graphs.stream):
            self._graphs.stream.wait_event(slot.copied)
            logits = self._graphs.run(slot.device.first(size), complete=all(sample.is_complete for sample in samples))
            slot.answers[:size].copy_(logits, non_blocking=True)
            slot.done.record()
        self._slots.rotate(-1)
        slot.flight = _CudaFlight(slot, len(samples))
        return slot.flight

    @torch.inference_mode()
    def compute(self, rows: int, times: int) -> None:
        """Replays the graph for whole samples; see `pipeline.model.engines.Engine`."""
        torch.cuda.set_device(self._device)
        self._graphs.replay(self._graphs.size_for(rows), times)

    def land(self) -> None:
        """Collects all that is in flight."""
        for slot in self._slots:
            slot.land()


class _Slot:
    """The buffers of one batch on its way: page-locked ones on the host, and those on the device they go to."""

    def __init__(self, network: FusionNetwork, capacity: int, device: torch.device) -> None:
        self.host = allocate(capacity, network.specs, torch.device("cpu"), pinned=True)
        self.device = allocate(capacity, network.specs, device)
        self.answers = torch.zeros(capacity, network.config.classes, pin_memory=True)
        self.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        self.flight: _CudaFlight | None = None

    def land(self) -> None:
        """Frees the slot; its flight keeps the answers."""
        if self.flight is not None:
            self.flight.collect()


class _CudaFlight:
    def __init__(self, slot: _Slot, rows: int) -> None:
        self._slot: _Slot | None = slot
        self._rows = rows
        self._logits: Logits | None = None

    def collect(self) -> Logits:
        if self._slot is not None:
            self._slot.done.synchronize()
            self._logits = self._slot.answers[: self._rows].numpy().copy()
            self._slot.flight = None
            self._slot = None
        assert self._logits is not None
        return self._logits


class _Graphs:
    """The network's inputs on the device, and a captured graph for each batch size, with a mask and without.

    The graphs share one memory pool. That is safe because they run on one stream, and the logits of each are copied
    out on that stream before the next starts.
    """

    def __init__(
        self, network: FusionNetwork, sizes: Sequence[int], device: torch.device, *, compile_network: bool
    ) -> None:
        self.stream = _compute_stream(device)
        self._network = compiled(network) if compile_network else network
        self._inputs = allocate(max(sizes), network.specs, device)
        self._pool = torch.cuda.graph_pool_handle()
        torch.cuda.synchronize()
        # Largest first, so that the smaller graphs find their memory in the pool.
        self._graphs = {
            (size, complete): self._capture(size, complete=complete) for size in sizes for complete in (False, True)
        }

    def size_for(self, rows: int) -> int:
        """Returns the smallest captured size for so many samples."""
        return min(size for size, _ in self._graphs if size >= rows)

    def run(self, batch: Buffers, *, complete: bool) -> Tensor:
        """Queues a batch of a captured size on the current stream; returns where its logits will be."""
        _copy(batch, self._inputs.first(len(batch.present)))
        graph, logits = self._graphs[len(batch.present), complete]
        graph.replay()
        return logits

    def replay(self, size: int, times: int) -> None:
        """Computes what the inputs hold, so many times, and waits."""
        graph, _ = self._graphs[size, True]
        self._replay(graph, times)

    def _replay(self, graph: torch.cuda.CUDAGraph, times: int) -> None:
        with torch.cuda.stream(self.stream):
            for _ in range(times):
                graph.replay()
        self.stream.synchronize()

    def _capture(self, size: int, *, complete: bool) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        speech, image, sensor, present = self._inputs.first(size)
        arguments = speech, image, sensor, None if complete else present
        with torch.cuda.stream(self.stream):
            for _ in range(_WARM_UP_RUNS):
                self._network(*arguments)
        self.stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self.stream):
            logits = self._network(*arguments).logits
        self._replay(graph, 1)  # the first launch uploads the graph: not while a batch waits for it
        return graph, logits


@cache
def _compute_stream(device: torch.device) -> torch.cuda.Stream:
    """Returns the stream that all engines of a device compute on.

    cuBLAS keeps a workspace for every stream it has seen: an engine made anew, with half the batch size since memory
    ran out, would lose more of it with a stream of its own.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def graph_sizes(batch_size: int) -> list[int]:
    """Returns the batch sizes that are captured: the full one, halves of it, and 1; largest first."""
    sizes = [batch_size]
    while sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    return sizes


def _copy(source: Buffers, target: Buffers) -> None:
    for given, taken in zip(source, target, strict=True):
        taken.copy_(given, non_blocking=True)
