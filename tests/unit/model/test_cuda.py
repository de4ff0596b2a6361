"""The engine for GPUs on a stand-in for CUDA; what needs the real one is in tests/gpu."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from pipeline.model.bundle import Bundle
from pipeline.model.cuda import SLOTS, CudaEngine, _compute_stream, graph_sizes
from pipeline.model.engines import CpuEngine
from tests.unit.model.conftest import random_samples
from tests.unit.model.stand_in import CPU, StandIn


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    stand_in = StandIn()
    stand_in.install(monkeypatch)
    _compute_stream.cache_clear()
    yield stand_in
    _compute_stream.cache_clear()


def engine(bundle: Bundle, batch_size: int = 8, *, half_precision: bool = False) -> CudaEngine:
    return CudaEngine(bundle, batch_size, CPU, half_precision=half_precision)


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("half_precision", [False, True])
def test_answers_are_those_of_the_cpus_engine(bundle: Bundle, *, half_precision: bool) -> None:
    there, right = engine(bundle, half_precision=half_precision), CpuEngine(bundle, 8)
    complete = [sample for sample in random_samples(28) if sample.is_complete]
    batches = [*(random_samples(count, seed=count) for count in (8, 1, 3, 8, 5)), complete]
    flights = [there.launch(batch) for batch in batches]
    assert len(flights) > SLOTS
    for batch, flight in zip(batches, flights, strict=True):
        np.testing.assert_allclose(flight.collect(), right.logits(batch), atol=0.05 if half_precision else 1e-4)


def test_each_graph_is_replayed_once_before_the_first_batch_and_waited_for(bundle: Bundle, cuda: StandIn) -> None:
    engine(bundle)
    assert len(cuda.graphs) == 2 * len(graph_sizes(8))
    assert [graph.replays for graph in cuda.graphs] == [1] * len(cuda.graphs)
    after_each = [cuda.calls[place + 1 : place + 3] for place, call in enumerate(cuda.calls) if call == "capture"]
    assert after_each == [["replay", "wait"]] * len(cuda.graphs)


def test_zeroed_slots_are_waited_for(bundle: Bundle, cuda: StandIn) -> None:
    engine(bundle)
    assert cuda.calls[-1] == "wait for all"


def test_convolutions_are_captured_without_tf32(bundle: Bundle, cuda: StandIn) -> None:
    before = torch.backends.cudnn.allow_tf32
    engine(bundle)
    assert cuda.rounded == [False] * len(cuda.graphs)
    assert torch.backends.cudnn.allow_tf32 == before
    assert not torch.backends.cuda.matmul.allow_tf32


def test_engines_of_a_device_compute_on_one_stream(bundle: Bundle, cuda: StandIn) -> None:
    engine(bundle, 8)
    first = len(cuda.streams)
    engine(bundle, 4)
    assert (first, len(cuda.streams)) == (2, 3)  # the second makes one for its copies only


def test_the_calling_threads_device_becomes_the_engines(bundle: Bundle, cuda: StandIn) -> None:
    there = engine(bundle)
    assert cuda.devices == []
    there.launch(random_samples(3))
    there.compute(3, 1)
    assert cuda.devices == [CPU, CPU]


def test_compute_replays_so_many_times_what_came_last(bundle: Bundle, cuda: StandIn) -> None:
    there = engine(bundle)
    before = [graph.replays for graph in cuda.graphs]
    there.compute(3, 5)
    assert [graph.replays - old for graph, old in zip(cuda.graphs, before, strict=True)].count(5) == 1
    assert cuda.calls[-6:] == ["replay"] * 5 + ["wait"]
