"""Windows by event time, cheap to add to and to take out: most of them have closed long before their time comes."""

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Generic, Protocol, TypeVar


class Anchored(Protocol):
    """What has a place in event time."""

    @property
    def anchor_ms(self) -> int: ...  # noqa: D102


Item = TypeVar("Item", bound=Anchored)


class Timeline(Generic[Item]):
    """Items by their anchors, in buckets of `step_ms`: a dictionary look-up to add, whole buckets to take out."""

    def __init__(self, step_ms: int) -> None:
        self._step_ms = step_ms
        self._buckets: dict[int, list[Item]] = {}
        self._numbers: list[int] = []

    def __len__(self) -> int:
        """The number of items."""
        return sum(map(len, self._buckets.values()))

    def add(self, items: Iterable[Item]) -> None:
        """Takes items in."""
        buckets, step_ms = self._buckets, self._step_ms
        number: int | None = None
        bucket: list[Item] | None = None
        for item in items:
            if (at := item.anchor_ms // step_ms) != number:
                number, bucket = at, buckets.get(at)
            if bucket is None:
                bucket = self._begin(at, [])
            bucket.append(item)

    def pop_before(self, time_ms: int) -> list[Item]:
        """Takes out the items with anchors before a time; those of one step in the order they came in."""
        popped: list[Item] = []
        while self._numbers and self._numbers[0] * self._step_ms < time_ms:
            number = heappop(self._numbers)
            bucket = self._buckets.pop(number)
            if (number + 1) * self._step_ms > time_ms:
                if later := [item for item in bucket if item.anchor_ms >= time_ms]:
                    self._begin(number, later)
                return popped + [item for item in bucket if item.anchor_ms < time_ms]
            popped += bucket
        return popped

    def _begin(self, number: int, items: list[Item]) -> list[Item]:
        self._buckets[number] = items
        heappush(self._numbers, number)
        return items
