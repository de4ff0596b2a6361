"""`torch.compile`: the same answers, one compilation for every batch size, and a sentence where it does not work."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from pipeline.model.compilation import compiled
from pipeline.model.errors import CompilationFailed
from pipeline.model.network import FusionNetwork
from tests.unit.model.conftest import random_inputs


@pytest.fixture(autouse=True)
def forgets() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@torch.inference_mode()
def test_any_batch_size_is_answered_by_one_compilation(network: FusionNetwork) -> None:
    # The counter stands for the C++ back end, which would take a minute.
    counter = CompileCounterWithBackend("eager")
    fast = compiled(network, backend=counter)
    for batch in (8, 3, 16):
        inputs = random_inputs(batch, seed=batch)
        torch.testing.assert_close(fast(*inputs, None), network(*inputs, None))
    assert counter.frame_count == 1


@torch.inference_mode()
def test_what_cannot_be_compiled_is_said_with_the_setting(network: FusionNetwork) -> None:
    def broken(graph: torch.fx.GraphModule, _inputs: list[torch.Tensor]) -> Callable[..., Any]:
        raise OSError("g++: not found")

    with pytest.raises(CompilationFailed, match=r"g\+\+: not found.*enable_model_compilation"):
        compiled(network, backend=broken)(*random_inputs(2), None)


def test_the_original_is_left_as_it_is(network: FusionNetwork) -> None:
    fast = compiled(network)
    assert fast.transformer is not network.transformer
    assert next(fast.parameters()) is next(network.parameters())


def test_who_compiles_nothing_does_not_load_the_compiler() -> None:
    names = "import sys, pipeline.model.runtime; print(*(name for name in sys.modules if name == 'torch._dynamo'))"
    loaded = subprocess.run([sys.executable, "-c", names], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []
