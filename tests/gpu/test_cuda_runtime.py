"""The CUDA path answers what the CPU path answers, whatever the number of samples and the precision."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipeline.digits.replay import triples
from pipeline.model.bundle import Bundle, load_bundle
from pipeline.model.config import PRESETS
from pipeline.model.errors import InferenceFailed
from pipeline.model.network import FusionNetwork
from pipeline.model.runtime import Runtime
from pipeline.model.samples import Sample
from pipeline.model.verdicts import isolate
from tests.unit.model.conftest import random_inputs, random_samples

pytestmark = pytest.mark.gpu


@pytest.fixture
def expected(bundle: Bundle) -> Runtime:
    return Runtime(bundle, device="cpu", batch_size=16)


def test_auto_takes_the_gpu_in_half_precision(bundle: Bundle) -> None:
    runtime = Runtime(bundle)
    assert (runtime.device, runtime.precision) == (torch.device("cuda:0"), "float16")


@pytest.mark.parametrize("half_precision", [False, True])
def test_answers_are_those_of_the_cpu(bundle: Bundle, expected: Runtime, *, half_precision: bool) -> None:
    runtime = Runtime(bundle, device="cuda", half_precision=half_precision, batch_size=16)
    runtime.warm_up()
    # Down and up again through all graphs, with more than two batches in flight.
    for count in (100, 1, 3, 16, 17, 5, 48):
        samples = random_samples(count, seed=count)
        got, right = runtime.predict(samples), expected.predict(samples)
        np.testing.assert_allclose(got, right, atol=0.01 if half_precision else 1e-3)


def test_half_precision_decides_as_full_precision_does() -> None:
    shipped = load_bundle()
    samples = [Sample(triple.speech, triple.image, triple.pen) for triple in triples(4_000, seed=1_234)]
    full, half = (
        Runtime(shipped, device="cuda", half_precision=half_precision).predict(samples).argmax(axis=1)
        for half_precision in (False, True)
    )
    assert (full == half).mean() >= 0.995


def test_batches_overlap_and_keep_their_own_answers(bundle: Bundle, expected: Runtime) -> None:
    runtime = Runtime(bundle, device="cuda", batch_size=16)
    batches = [random_samples(count, seed=count) for count in (16, 3, 16, 9, 16, 1, 70)]
    pending = [runtime.submit(batch) for batch in batches]
    for place in (3, 0, 6, 5, 1, 2, 4):
        np.testing.assert_allclose(pending[place].result(), expected.predict(batches[place]), atol=0.01)


def test_complete_batches_are_answered_like_masked_ones(bundle: Bundle) -> None:
    runtime = Runtime(bundle, device="cuda", batch_size=16)
    complete = [sample for sample in random_samples(98) if sample.is_complete]
    partial = random_samples(1)
    alone = runtime.predict(complete[:9])
    np.testing.assert_allclose(runtime.predict([*complete[:9], *partial])[:9], alone, atol=0.01)


@pytest.mark.parametrize("half_precision", [False, True])
def test_the_compiled_network_answers_the_same(bundle: Bundle, expected: Runtime, *, half_precision: bool) -> None:
    runtime = Runtime(bundle, device="cuda", half_precision=half_precision, batch_size=4, compile_network=True)
    samples = random_samples(20)
    np.testing.assert_allclose(runtime.predict(samples), expected.predict(samples), atol=0.01)


@torch.inference_mode()
def test_attention_keeps_a_fused_kernel(bundle: Bundle) -> None:
    network = FusionNetwork(PRESETS["base"], bundle.manifest.specs).eval().cuda().half_precision()
    inputs = [tensor.cuda() for tensor in random_inputs(4)]
    flash = [SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION]
    with sdpa_kernel(flash):
        network(*inputs, None)
    with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, *flash]):
        network(*inputs, torch.tensor([[True, True, False]] * 4, device="cuda"))


def test_the_bundle_keeps_its_own_network(bundle: Bundle, expected: Runtime) -> None:
    samples = random_samples(9)
    before = expected.predict(samples)
    Runtime(bundle, device="cuda", batch_size=8).predict(samples)
    assert np.array_equal(expected.predict(samples), before)
    assert bundle.network.transformer.missing.dtype == torch.float32


def test_a_culprit_is_isolated_and_leaves_nothing_behind(bundle: Bundle, expected: Runtime) -> None:
    runtime = Runtime(bundle, device="cuda", batch_size=8)
    samples = random_samples(20)
    samples[13] = Sample(sensor=np.full((64, 2), np.nan, np.float32))
    answers = isolate(runtime.predict, samples)
    assert [place for place, answer in enumerate(answers) if isinstance(answer, InferenceFailed)] == [13]
    samples = random_samples(20)
    np.testing.assert_allclose(runtime.predict(samples), expected.predict(samples), atol=0.01)


def test_a_wrong_sample_among_batches_in_flight_fails_alone(bundle: Bundle, expected: Runtime) -> None:
    runtime = Runtime(bundle, device="cuda", batch_size=4)
    samples = random_samples(20)
    with pytest.raises(InferenceFailed, match="the model takes int16"):
        runtime.predict([*samples[:18], Sample(speech=np.zeros(5, np.int16))])
    np.testing.assert_allclose(runtime.predict(samples), expected.predict(samples), atol=0.01)


@pytest.fixture
def half_a_gibibyte() -> Iterator[None]:
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((1 << 29) / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.usefixtures("half_a_gibibyte")
def test_out_of_memory_halves_the_batch_size_and_remembers(bundle: Bundle, expected: Runtime) -> None:
    # The input buffers alone are larger: twice 16,384 x 33 kB.
    runtime = Runtime(bundle, device="cuda", batch_size=16_384)
    samples = random_samples(20)
    np.testing.assert_allclose(runtime.predict(samples), expected.predict(samples), atol=0.01)
    fitting = runtime.batch_size
    assert fitting < 16_384
    runtime.predict(samples)
    assert runtime.batch_size == fitting


def test_base_runs_in_half_precision(bundle: Bundle) -> None:
    torch.manual_seed(0)
    network = FusionNetwork(PRESETS["base"], bundle.manifest.specs).eval()
    runtime = Runtime(Bundle(bundle.manifest, network), device="cuda", batch_size=32)
    right = Runtime(Bundle(bundle.manifest, network), device="cpu", batch_size=8)
    samples = random_samples(40)
    np.testing.assert_allclose(runtime.predict(samples)[:8], right.predict(samples[:8]), atol=0.02)
