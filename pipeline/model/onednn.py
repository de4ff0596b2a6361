"""The network's matrix products and convolutions by oneDNN, for a CPU.

PyTorch multiplies FP32 matrices with MKL, which leaves the wide registers of AMD's processors unused, and takes a GELU
or a batch norm for a pass of its own. oneDNN does neither. These are the operators that `torch.compile` puts in their
place when it freezes a network, in `torch._inductor.fx_passes.mkldnn_fusion`; here nothing is compiled.
See docs/adr/0014-a-batch-split-among-cores.md.
"""

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline.model.layer import Layer, QueryKeyValue
from pipeline.model.network import FusionNetwork, Stem

_After = tuple[str, list[float], str]
_GELU: _After = ("gelu", [], "tanh")
_NOTHING: _After = ("none", [], "")
_OPERATORS = ("_reorder_linear_weight", "_linear_pointwise", "_convolution_pointwise")


def is_available() -> bool:
    """Whether this PyTorch was built with oneDNN."""
    return all(hasattr(torch.ops.mkldnn, operator) for operator in _OPERATORS)


def packed(network: FusionNetwork) -> FusionNetwork:
    """Returns a network that gives the same answers, in FP32 on a CPU and for inference only; the given one stays.

    Args:
        network: in FP32, on the CPU, as `eval()` leaves it.
    """
    # The parameters themselves are shared, not copied.
    fast = copy.deepcopy(network, {id(parameter): parameter for parameter in network.parameters()})
    for module in fast.modules():
        if isinstance(module, Layer):
            module.add_module("query_key_value", _QueryKeyValue(module.query_key_value))
            module.add_module("attention_out", _linear(module.attention_out))
            module.add_module("expand", _linear(module.expand, gelu=True))
            module.add_module("activation", nn.Identity())
            module.add_module("contract", _linear(module.contract))
        elif isinstance(module, Stem):
            module.add_module("convolutions", nn.Sequential(*_convolutions(list(module.convolutions))))
            module.add_module("projection", _linear(module.projection))
    return fast


class _Linear(nn.Module):
    """A linear map with its weights in the order that oneDNN wants, and GELU after it if asked for."""

    def __init__(self, weight: Tensor, bias: Tensor, *, gelu: bool = False) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
        self.bias = bias.detach().contiguous()
        self.after: _After = _GELU if gelu else _NOTHING

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self.weight, self.bias, *self.after)
        return output


class _QueryKeyValue(_Linear):
    """As `QueryKeyValue`."""

    def __init__(self, whole: QueryKeyValue) -> None:
        super().__init__(whole.weight, whole.bias)
        width = whole.in_features
        self.query = _Linear(whole.weight[:width], whole.bias[:width])
        self.key_value = _Linear(whole.weight[width:], whole.bias[width:])


class _Convolution(nn.Module):
    """A convolution with the batch norm in its weights and GELU after it."""

    def __init__(self, convolution: nn.Conv1d | nn.Conv2d, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        super().__init__()
        fused = fuse_conv_bn_eval(convolution, norm)
        assert fused.bias is not None
        self.weight, self.bias = fused.weight.detach(), fused.bias.detach()
        self.shape = list(fused.padding), list(fused.stride), list(fused.dilation), fused.groups

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = torch.ops.mkldnn._convolution_pointwise(inputs, self.weight, self.bias, *self.shape, *_GELU)
        return output


def _convolutions(layers: Sequence[nn.Module]) -> Iterator[_Convolution]:
    for convolution, norm in zip(layers[0::3], layers[1::3], strict=True):
        assert isinstance(convolution, nn.Conv1d | nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        yield _Convolution(convolution, norm)


def _linear(linear: nn.Linear, *, gelu: bool = False) -> _Linear:
    return _Linear(linear.weight, linear.bias, gelu=gelu)
