from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.model.bundle import Bundle
from pipeline.model.contract import Probabilities
from pipeline.model.cuda import graph_sizes
from pipeline.model.engines import CpuEngine, Logits
from pipeline.model.errors import DeviceUnavailable, InferenceFailed
from pipeline.model.network import FusionNetwork
from pipeline.model.runtime import Runtime, choose_device
from pipeline.model.samples import Sample
from pipeline.model.verdicts import isolate
from tests.unit.model.conftest import random_samples


@pytest.fixture
def runtime(bundle: Bundle) -> Runtime:
    return Runtime(bundle, device="cpu", batch_size=16)


def test_probabilities_are_the_softmax_over_the_subsets_temperature(runtime: Runtime, network: FusionNetwork) -> None:
    speech, image, sensor = random_samples(7)[6].speech, random_samples(7)[6].image, random_samples(7)[6].sensor
    assert speech is not None
    assert image is not None
    assert sensor is not None
    inputs = tuple(torch.from_numpy(array)[None] for array in (speech, image, sensor))
    for subset, sample in enumerate(
        [Sample(speech), Sample(None, image), Sample(speech, image), Sample(None, None, sensor)], start=1
    ):
        with torch.inference_mode():
            logits = network(*inputs, torch.tensor([sample.present])).logits
        expected = (logits / (1 + subset / 10)).softmax(dim=1).numpy()
        np.testing.assert_allclose(runtime.predict([sample]), expected, atol=1e-5)


def test_rows_are_float32_and_add_up_to_one(runtime: Runtime) -> None:
    probabilities = runtime.predict(random_samples(10))
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (10, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_more_samples_than_a_batch_are_answered_like_single_ones(runtime: Runtime) -> None:
    samples = random_samples(37)
    alone = np.concatenate([runtime.predict([sample]) for sample in samples])
    np.testing.assert_allclose(runtime.predict(samples), alone, atol=1e-5)


def test_what_is_submitted_together_may_be_asked_for_in_any_order(runtime: Runtime) -> None:
    batches = [random_samples(count, seed=count) for count in (16, 3, 40, 1)]
    expected = [runtime.predict(batch) for batch in batches]
    pending = [runtime.submit(batch) for batch in batches]
    for place in (2, 0, 3, 1):
        assert np.array_equal(pending[place].result(), expected[place])


def test_a_failure_comes_with_the_result_of_its_own_batch(runtime: Runtime) -> None:
    good = random_samples(5)
    pending = [runtime.submit([Sample(speech=np.zeros(5, np.int16))]), runtime.submit(good)]
    with pytest.raises(InferenceFailed, match="the model takes int16"):
        pending[0].result()
    assert np.array_equal(pending[1].result(), runtime.predict(good))


@pytest.mark.parametrize("count", [1, 5, 16, 37])
def test_a_batch_split_among_threads_is_answered_like_a_whole_one(bundle: Bundle, count: int) -> None:
    samples = random_samples(count)
    whole, split = (Runtime(bundle, device="cpu", batch_size=16, threads=n).predict(samples) for n in (1, 3))
    np.testing.assert_allclose(split, whole, atol=1e-5)


def test_no_samples_give_no_rows(runtime: Runtime) -> None:
    assert runtime.predict([]).shape == (0, 10)


def test_what_a_former_batch_left_behind_does_not_matter(runtime: Runtime) -> None:
    partial = random_samples(5)
    expected = runtime.predict(partial)
    poison = Sample(sensor=np.full((64, 2), np.nan, np.float32))
    with pytest.raises(InferenceFailed):
        runtime.predict([poison] * 16)
    assert np.array_equal(runtime.predict(partial), expected)


def test_warm_up_prepares_every_batch(runtime: Runtime) -> None:
    runtime.warm_up()
    assert runtime.batch_size == 16


def test_a_batch_with_nan_fails_and_says_how_many(runtime: Runtime) -> None:
    poison = Sample(sensor=np.full((64, 2), np.nan, np.float32))
    with pytest.raises(InferenceFailed, match="not a number for 2 of 5 samples"):
        runtime.predict([*random_samples(3), poison, poison])


@pytest.mark.parametrize(
    "sample",
    [
        Sample(speech=np.zeros(15_999, np.int16)),
        Sample(image=np.zeros((32, 31), np.uint8)),
        Sample(sensor=np.zeros((64, 2), np.float64)),
    ],
)
def test_a_sample_of_another_shape_or_type_fails_by_name(runtime: Runtime, sample: Sample) -> None:
    with pytest.raises(InferenceFailed, match=r"the model takes (int16|uint8|float32) \["):
        runtime.predict([sample])


def test_isolate_finds_every_culprit_and_answers_the_rest(runtime: Runtime) -> None:
    samples = random_samples(20)
    culprits = {0, 7, 8, 19}
    for place in culprits:
        samples[place] = Sample(sensor=np.full((64, 2), np.inf, np.float32))
    answers = isolate(runtime.predict, samples)
    assert {place for place, answer in enumerate(answers) if isinstance(answer, InferenceFailed)} == culprits
    for place, answer in enumerate(answers):
        if not isinstance(answer, InferenceFailed):
            np.testing.assert_allclose(answer, runtime.predict([samples[place]])[0], atol=1e-5)


def test_isolate_asks_once_when_nothing_is_wrong() -> None:
    calls = []

    def predict(samples: Sequence[Sample]) -> Probabilities:
        calls.append(len(samples))
        return np.full((len(samples), 2), 0.5, np.float32)

    assert len(isolate(predict, random_samples(9))) == 9
    assert isolate(predict, []) == []
    assert calls == [9]


def test_out_of_memory_halves_the_batch_size_and_remembers(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = random_samples(16)
    expected = runtime.predict(samples)
    started: list[int] = []
    honest = CpuEngine.logits

    class SmallMemory(CpuEngine):
        def __init__(self, bundle: Bundle, batch_size: int, threads: int = 1, *, compile_network: bool = False) -> None:
            super().__init__(bundle, batch_size, threads)
            started.append(batch_size)

        def logits(self, samples: Sequence[Sample]) -> Logits:
            if started[-1] > 4:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return honest(self, samples)

    monkeypatch.setattr("pipeline.model.runtime.CpuEngine", SmallMemory)
    small = Runtime(runtime.bundle, device="cpu", batch_size=16)
    np.testing.assert_allclose(small.predict(samples), expected, atol=1e-5)
    small.predict(samples)
    assert (small.batch_size, started) == (4, [16, 8, 4])


def raised_while_handling(first: RuntimeError, last: RuntimeError) -> RuntimeError:
    last.__context__ = first
    return last


CAPTURE = "operation failed due to a previous error during capture"
ERRORS: list[tuple[RuntimeError, type[Exception], str]] = [
    (torch.OutOfMemoryError("CUDA out of memory"), InferenceFailed, "too little memory for one sample"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory"), InferenceFailed, "too little memory"),
    (RuntimeError("CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), InferenceFailed, "too little memory"),
    (
        raised_while_handling(torch.OutOfMemoryError("CUDA out of memory"), torch.AcceleratorError(CAPTURE)),
        InferenceFailed,
        "too little memory",
    ),
    (raised_while_handling(RuntimeError("an illegal call"), RuntimeError(CAPTURE)), InferenceFailed, "cannot answer"),
    (RuntimeError("cuDNN error"), InferenceFailed, "cannot answer: cuDNN error"),
    (torch.AcceleratorError("an illegal memory access"), DeviceUnavailable, "start a new one"),
]


@pytest.mark.parametrize(("raised", "error", "says"), ERRORS)
def test_pytorchs_errors_are_told_apart(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, raised: RuntimeError, error: type[Exception], says: str
) -> None:
    def fail(engine: CpuEngine, samples: Sequence[Sample]) -> Logits:
        raise raised

    monkeypatch.setattr(CpuEngine, "logits", fail)
    runtime = Runtime(bundle, device="cpu", batch_size=2)
    with pytest.raises(error, match=says):
        runtime.predict(random_samples(2))


def test_a_cpu_computes_in_full_precision(bundle: Bundle) -> None:
    runtime = Runtime(bundle, device="cpu", half_precision=True)
    assert (runtime.device.type, runtime.precision) == ("cpu", "float32")


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize(("usable", "count"), [(True, 0), (False, 0), (False, 2)])
def test_auto_is_the_cpu_without_a_gpu_that_pytorch_can_use(
    monkeypatch: pytest.MonkeyPatch, usable: bool, count: int
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(DeviceUnavailable, match="PyTorch can use 0 CUDA devices"):
        choose_device("cuda")


@pytest.mark.usefixtures("two_gpus")
def test_auto_takes_the_first_gpu() -> None:
    assert choose_device("auto") == torch.device("cuda:0")
    assert choose_device("cuda") == torch.device("cuda:0")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("name", ["gpu", "cuda:x", "mps", "cuda:2", ""])
def test_a_device_that_is_not_there_is_refused_by_name(name: str) -> None:
    with pytest.raises(DeviceUnavailable, match=repr(name)):
        choose_device(name)


def test_an_impossible_batch_size_is_refused(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="batch_size is 0"):
        Runtime(bundle, device="cpu", batch_size=0)


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(1, [1]), (2, [2, 1]), (64, [64, 32, 16, 8, 4, 2, 1]), (100, [100, 50, 25, 12, 6, 3, 1])]
)
def test_graph_sizes_shrink_by_halves(batch_size: int, sizes: list[int]) -> None:
    assert graph_sizes(batch_size) == sizes


def test_temperatures_flatten_the_answer(bundle: Bundle) -> None:
    samples = random_samples(7)
    hot = Bundle(replace(bundle.manifest, temperatures=(50.0,) * 8), bundle.network)
    warm, flat = (Runtime(model, device="cpu").predict(samples) for model in (bundle, hot))
    assert (flat.max(axis=1) < warm.max(axis=1)).all()
    assert (flat.argmax(axis=1) == warm.argmax(axis=1)).all()
