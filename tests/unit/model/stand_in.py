"""A stand-in for `torch.cuda` on a CPU, so that the engine for GPUs runs where there is none.

All work is done at once and in the order it is queued, and a graph is what PyTorch dispatched while it was captured,
done again. So it tells what is computed and what is called when, but nothing of streams that overlap.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CPU = torch.device("cpu")


class StandIn:
    """What was called.

    Attributes:
        streams: The streams that were made, those of graphs and copies alike.
        graphs: The graphs that were captured.
        devices: The devices that were made current, in order.
        calls: "capture", "replay", "wait" and "wait for all", in order.
        rounded: For each capture, whether convolutions in FP32 might take TF32 in it.
    """

    def __init__(self) -> None:
        self.streams: list[_Stream] = []
        self.graphs: list[_Graph] = []
        self.devices: list[torch.device] = []
        self.calls: list[str] = []
        self.rounded: list[bool] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Puts it in the place of what the engine uses of `torch.cuda`, and lets page-locked memory be any."""
        zeros = torch.zeros

        def unpinned(*sizes: Any, pin_memory: bool = False, **options: Any) -> Tensor:
            return zeros(*sizes, **options)

        monkeypatch.setattr(torch, "zeros", unpinned)
        replaced: Mapping[str, Callable[..., object]] = {
            "device": nullcontext,
            "stream": nullcontext,
            "set_device": self.devices.append,
            "synchronize": lambda: self.calls.append("wait for all"),
            "graph_pool_handle": lambda: (0, 1),
            "Stream": lambda device=CPU: _Stream(self, device),
            "Event": lambda blocking=False: _Event(),
            "CUDAGraph": lambda: _Graph(self),
            "graph": self._capture,
        }
        for name, stands_in in replaced.items():
            monkeypatch.setattr(torch.cuda, name, stands_in)

    @contextmanager
    def _capture(self, graph: "_Graph", pool: object, stream: "_Stream") -> Iterator[None]:
        self.calls.append("capture")
        self.rounded.append(torch.backends.cudnn.allow_tf32)
        with graph.recorder:
            yield


class _Stream:
    def __init__(self, stand_in: StandIn, device: torch.device) -> None:
        self.device = device
        self._calls = stand_in.calls
        stand_in.streams.append(self)

    def synchronize(self) -> None:
        self._calls.append("wait")

    def wait_event(self, event: "_Event") -> None:
        assert event.recorded, "waits for what was not queued"


class _Event:
    def __init__(self) -> None:
        self.recorded = False

    def record(self) -> None:
        self.recorded = True

    def synchronize(self) -> None:
        assert self.recorded, "waits for what was not queued"


class _Graph:
    def __init__(self, stand_in: StandIn) -> None:
        self.recorder = _Recorder()
        self.replays = 0
        self._calls = stand_in.calls
        stand_in.graphs.append(self)

    def replay(self) -> None:
        self.replays += 1
        self._calls.append("replay")
        for operation, arguments, options, outcome in self.recorder.operations:
            again = tree_leaves(operation(*arguments, **options))
            for old, new in zip(tree_leaves(outcome), again, strict=True):
                if isinstance(old, Tensor) and not _is_a_view(old, arguments):
                    old.copy_(new)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        outcome = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, outcome))
        return outcome


def _is_a_view(tensor: Tensor, arguments: tuple[Any, ...]) -> bool:
    places = {leaf.untyped_storage().data_ptr() for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)}
    return tensor.untyped_storage().data_ptr() in places
