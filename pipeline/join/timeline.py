"""Windows in the order of event time, cheap to add to: most of them have closed long before their time comes."""

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Generic, Protocol, TypeVar


class Anchored(Protocol):
    """What has a place in event time."""

    @property
    def anchor_ms(self) -> int: ...  # noqa: D102


Item = TypeVar("Item", bound=Anchored)


class Timeline(Generic[Item]):
    """Items by their anchors, in buckets of `step_ms`: a dictionary look-up to add, a sort of few to take out."""

    def __init__(self, step_ms: int) -> None:
        self._step_ms = step_ms
        self._buckets: dict[int, list[Item]] = {}
        self._numbers: list[int] = []

    def __len__(self) -> int:
        """The number of items."""
        return sum(map(len, self._buckets.values()))

    def add(self, item: Item) -> None:
        """Takes an item in."""
        number = item.anchor_ms // self._step_ms
        bucket = self._buckets.get(number)
        if bucket is None:
            self._begin(number, [item])
        else:
            bucket.append(item)

    def pop_before(self, time_ms: int) -> Iterable[Item]:
        """Takes out the items with anchors before a time, in their order."""
        popped: list[Item] = []
        while self._numbers and self._numbers[0] * self._step_ms < time_ms:
            number = heappop(self._numbers)
            bucket = self._buckets.pop(number)
            bucket.sort(key=lambda item: item.anchor_ms)
            if bucket[-1].anchor_ms >= time_ms:
                self._begin(number, [item for item in bucket if item.anchor_ms >= time_ms])
                return popped + [item for item in bucket if item.anchor_ms < time_ms]
            popped += bucket
        return popped

    def _begin(self, number: int, items: list[Item]) -> None:
        self._buckets[number] = items
        heappush(self._numbers, number)
