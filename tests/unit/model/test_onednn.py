"""oneDNN: the same answers, from a network that is left as it is."""

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from pipeline.model import onednn
from pipeline.model.bundle import Bundle
from pipeline.model.config import PRESETS
from pipeline.model.engines import CpuEngine
from pipeline.model.layer import Layer
from pipeline.model.network import FusionNetwork
from pipeline.model.specs import InputSpecs
from tests.unit.model.conftest import random_inputs
from tests.unit.model.test_network import SUBSETS, subset


def with_statistics(network: FusionNetwork) -> FusionNetwork:
    """Gives the batch norms something that their neighbours' weights have to take over."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.bias)
    return network


@pytest.mark.parametrize("preset", ["small", "base"])
@pytest.mark.parametrize("present", [None, *SUBSETS])
@torch.inference_mode()
def test_the_answers_are_the_same(preset: str, present: tuple[bool, bool, bool] | None) -> None:
    torch.manual_seed(1)
    network = with_statistics(FusionNetwork(PRESETS[preset], InputSpecs()).eval())
    fast, inputs, there = onednn.packed(network), random_inputs(2), subset(present, 2) if present else None
    for mine, theirs in zip(fast(*inputs, there), network(*inputs, there), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_the_original_is_left_as_it_is(network: FusionNetwork) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    onednn.packed(network)
    torch.testing.assert_close(network.state_dict(), before, atol=0, rtol=0)
    assert all(isinstance(layer, Layer) and isinstance(layer.expand, nn.Linear) for layer in network.transformer.layers)


@torch.inference_mode()
def test_nothing_is_left_to_the_slower_operators(network: FusionNetwork) -> None:
    fast = onednn.packed(network)
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as operators:
        fast.transformer(fast.features(*random_inputs(2)), None)
    called = {event.key: event.count for event in operators.key_averages()}
    assert not {"aten::native_batch_norm", "aten::gelu", "aten::convolution"} & called.keys()
    heads = 1 + 3
    assert called["aten::linear"] == heads


def test_the_engine_for_a_cpu_takes_it(bundle: Bundle) -> None:
    engine = CpuEngine(bundle, 4)
    assert not isinstance(engine._network.transformer.layers[0].expand, nn.Linear)
    assert isinstance(bundle.network.transformer.layers[0].expand, nn.Linear)
    engine.land()


def test_without_it_the_network_runs_as_it_is(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "_OPERATORS", ("_of_a_build_without_it",))
    engine = CpuEngine(bundle, 4)
    assert engine._network is bundle.network
    engine.land()
