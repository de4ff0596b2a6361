"""`torch.compile` for the network (`optimization.enable_model_compilation`)."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.model.errors import CompilationFailed
from pipeline.model.features import Features
from pipeline.model.network import FusionNetwork, Output

Backend = str | Callable[..., Any]


def compiled(network: FusionNetwork, backend: Backend = "inductor") -> FusionNetwork:
    """Returns a network with the same parameters whose transformer is compiled when it first runs.

    The features stay as they are: a Fourier transform and a few reductions, which no compiler makes faster.

    Args:
        network: What is compiled.
        backend: The compiler, as `torch.compile` takes it.
    """
    fast = copy.copy(network)
    fast._modules = {**network._modules, "transformer": _Compiled(network.transformer, backend)}
    return fast


class _Compiled(nn.Module):
    """Compiled once for any batch size from two up, once for one sample; each with a mask and without."""

    def __init__(self, transformer: nn.Module, backend: Backend) -> None:
        super().__init__()
        self.transformer = torch.compile(transformer, backend=backend)

    def forward(self, features: Features, present: Tensor | None) -> Output:
        for tensor in (*features, *(() if present is None else (present,))):
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
        try:
            output: Output = self.transformer(features, present)
        except Exception as error:
            # Loaded by now; at the top it would triple the start-up time of all who compile nothing.
            from torch._dynamo.exc import TorchDynamoException  # noqa: PLC0415

            if not isinstance(error, TorchDynamoException):
                raise
            reason = " ".join(str(error).splitlines()[:2])
            raise CompilationFailed(
                f"torch.compile does not work here ({reason}): install a C++ compiler and, for a GPU, Triton, or "
                "switch optimization.enable_model_compilation off."
            ) from error
        return output
