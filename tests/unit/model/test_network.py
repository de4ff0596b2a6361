from dataclasses import replace

import pytest
import torch

from pipeline.model.config import PRESETS, StemConfig
from pipeline.model.layer import Layer
from pipeline.model.network import FusionNetwork, FusionTransformer, token_counts
from pipeline.model.specs import ImageSpec, InputSpecs, SensorSpec
from pipeline.model.speed import counting_flops
from tests.unit.model.conftest import Inputs, random_inputs

SUBSETS = [(True, False, False), (False, True, False), (False, False, True), (True, True, False)]
SUBSETS += [(True, False, True), (False, True, True), (True, True, True)]


def subset(present: tuple[bool, bool, bool], batch: int) -> torch.Tensor:
    return torch.tensor(present).expand(batch, 3)


def test_small_is_as_large_as_designed() -> None:
    network = FusionNetwork(PRESETS["small"], InputSpecs())
    assert sum(parameter.numel() for parameter in network.parameters()) == 436_264
    assert token_counts(network.config, network.specs) == (24, 16, 16)


def last_layer(network: FusionNetwork) -> Layer:
    last = network.transformer.layers[-1]
    assert isinstance(last, Layer)
    return last


def whole_last_layer(network: FusionNetwork) -> int:
    """Returns the operations of a sample if the last layer computed all its tokens too."""
    last = last_layer(network)
    with counting_flops() as counter:
        network(*random_inputs(1), subset((True, True, True), 1))
        tokens = torch.zeros(1, network.transformer.registers + sum(network.transformer.slots), network.config.d_model)
        last(tokens)
        whole = counter.get_total_flops()
        last.first(tokens)
    return int(2 * whole - counter.get_total_flops())


@pytest.mark.parametrize("present", [None, *SUBSETS])
@torch.inference_mode()
def test_the_first_token_of_a_layer_is_that_of_all(
    network: FusionNetwork, present: tuple[bool, bool, bool] | None
) -> None:
    transformer = network.transformer
    tokens = torch.randn(3, transformer.registers + sum(transformer.slots), network.config.d_model)
    bias = transformer.attention_bias(subset(present, 3)) if present else None
    layer = last_layer(network)
    torch.testing.assert_close(layer.first(tokens, bias), layer(tokens, bias=bias)[:, :1], atol=1e-5, rtol=1e-5)


def test_base_is_as_large_as_designed_and_runs() -> None:
    network = FusionNetwork(PRESETS["base"], InputSpecs()).eval()
    assert sum(token_counts(network.config, network.specs)) == 384
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(20e6, rel=0.06)
    with counting_flops() as counter:
        output = network(*random_inputs(1), subset((True, True, True), 1))
    whole = whole_last_layer(network)
    assert whole == pytest.approx(16.8e9, rel=0.02)
    assert whole - counter.get_total_flops() == pytest.approx(2.3e9, rel=0.02)
    assert output.logits.shape == (1, 10)
    assert torch.isfinite(output.logits).all()


@pytest.mark.parametrize("present", SUBSETS)
@torch.inference_mode()
def test_content_of_a_missing_slot_changes_nothing_at_all(
    network: FusionNetwork, present: tuple[bool, bool, bool]
) -> None:
    some, other = random_inputs(4, seed=1), random_inputs(4, seed=2)
    mixed = Inputs(*(a if there else b for a, b, there in zip(some, other, present, strict=True)))
    expected, got = (network(*inputs, subset(present, 4)).logits for inputs in (some, mixed))
    assert torch.equal(expected, got)


@torch.inference_mode()
def test_not_even_nan_leaks_from_a_missing_slot(network: FusionNetwork) -> None:
    speech, image, sensor = random_inputs(2)
    present = subset((True, True, False), 2)
    expected = network(speech, image, sensor, present).logits
    assert torch.equal(network(speech, image, torch.full_like(sensor, torch.nan), present).logits, expected)


@pytest.mark.parametrize("place", [0, 1, 2])
@torch.inference_mode()
def test_content_of_a_present_slot_changes_the_answer(network: FusionNetwork, place: int) -> None:
    inputs, other = random_inputs(2, seed=1), random_inputs(2, seed=2)
    changed = Inputs(*(b if k == place else a for k, (a, b) in enumerate(zip(inputs, other, strict=True))))
    everything = subset((True, True, True), 2)
    assert not torch.equal(network(*inputs, everything).logits, network(*changed, everything).logits)


@torch.inference_mode()
def test_without_a_mask_complete_samples_are_answered_the_same(network: FusionNetwork) -> None:
    inputs = random_inputs(16)
    masked, free = network(*inputs, subset((True, True, True), 16)), network(*inputs, None)
    torch.testing.assert_close(free.logits, masked.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(free.auxiliary, masked.auxiliary, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_groups_attend_as_if_all_others_were_masked_out(network: FusionNetwork) -> None:
    layer, groups = network.transformer.layers[0], (4, 24, 16, 16)
    tokens = torch.randn(3, sum(groups), 96, generator=torch.Generator().manual_seed(0))
    group = torch.repeat_interleave(torch.arange(4), torch.tensor(groups))
    bias = torch.zeros(60, 60).masked_fill(group[:, None] != group[None, :], -torch.inf)
    torch.testing.assert_close(layer(tokens, groups=groups), layer(tokens, bias=bias), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_attention_bias_is_laid_out_for_the_fused_kernels(network: FusionNetwork, dtype: torch.dtype) -> None:
    transformer = FusionNetwork(network.config, network.specs).transformer.to(dtype)
    bias = transformer.attention_bias(torch.tensor(SUBSETS))
    assert (bias.dtype, bias.shape) == (dtype, (len(SUBSETS), 1, 1, 60))
    # Registers, and of a missing modality its first token.
    assert [int((row == 0).sum()) for row in bias[:, 0, 0]] == [4 + 24 + 2, 4 + 16 + 2, 4 + 16 + 2, 45, 45, 37, 60]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("rows", [1, len(SUBSETS)])
def test_no_stride_of_the_attention_bias_makes_a_kernel_copy_it(preset: str, rows: int) -> None:
    transformer = FusionNetwork(PRESETS[preset], InputSpecs()).transformer
    present = torch.tensor(SUBSETS)[-rows:]
    bias = transformer.attention_bias(present)
    assert all(stride % 8 == 0 for stride in bias.stride()[:-1])
    assert bias.stride(-1) == 1
    seen = torch.cat((torch.ones(rows, 4, dtype=torch.bool), present[:, transformer.modality] | transformer.first), 1)
    assert torch.equal(bias[:, 0, 0], torch.zeros(seen.shape).masked_fill(~seen, -torch.inf))


@torch.inference_mode()
def test_the_answer_does_not_depend_on_how_the_bias_is_laid_out(
    network: FusionNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, present = random_inputs(len(SUBSETS)), torch.tensor(SUBSETS)
    expected = network(*inputs, present).logits
    laid_out = FusionTransformer.attention_bias
    monkeypatch.setattr(FusionTransformer, "attention_bias", lambda *given: laid_out(*given).contiguous())
    torch.testing.assert_close(network(*inputs, present).logits, expected, atol=1e-6, rtol=1e-6)


@torch.inference_mode()
def test_presence_may_differ_within_a_batch(network: FusionNetwork) -> None:
    inputs = random_inputs(len(SUBSETS))
    together = network(*inputs, torch.tensor(SUBSETS)).logits
    for row, present in enumerate(SUBSETS):
        alone = network(*(part[row : row + 1] for part in inputs), subset(present, 1)).logits
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-4, rtol=1e-4)


def test_every_parameter_learns_also_the_missing_tokens() -> None:
    torch.manual_seed(0)
    network = FusionNetwork(PRESETS["small"], InputSpecs())
    output = network(*random_inputs(7), torch.tensor(SUBSETS))
    (output.logits.square().sum() + output.auxiliary.square().sum()).backward()
    still = [
        name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert still == []
    logits = network(*random_inputs(7), torch.tensor(SUBSETS)).logits
    network.zero_grad()
    logits.square().sum().backward()
    missing = network.transformer.missing.grad
    assert missing is not None
    assert bool(missing.abs().sum(dim=1).min() > 0)


@pytest.mark.parametrize("present", SUBSETS)
@torch.inference_mode()
def test_half_precision_answers_the_same(network: FusionNetwork, present: tuple[bool, bool, bool]) -> None:
    half = FusionNetwork(network.config, network.specs).eval()
    half.load_state_dict(network.state_dict())
    half.half_precision()
    inputs = random_inputs(16)
    expected, got = network(*inputs, subset(present, 16)), half(*inputs, subset(present, 16))
    assert got.logits.dtype == torch.float32
    assert half.features.log_mel.filters.dtype == torch.float32
    torch.testing.assert_close(got.logits, expected.logits, atol=0.02, rtol=0.02)


@pytest.mark.parametrize(
    ("specs", "names"),
    [
        (InputSpecs(image=ImageSpec(width=30)), "image width: 30"),
        (InputSpecs(sensor=SensorSpec(frames=63)), "sensor frames: 63"),
    ],
)
def test_sizes_that_do_not_fit_the_strides_are_refused(specs: InputSpecs, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        FusionNetwork(PRESETS["small"], specs)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="heads 5 must divide d_model 96"):
        replace(PRESETS["small"], heads=5)
    with pytest.raises(ValueError, match="needs 2 strides"):
        StemConfig(widths=(8,), strides=(2,))
