"""When a batch leaves: it is full, or its oldest item has waited long enough."""

from collections import deque
from collections.abc import Sequence
from itertools import repeat
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Batcher(Generic[Item]):
    """Gathers items into batches. Pure: time comes in as an argument.

    Attributes:
        waited_ms: how long the oldest of the batch had waited that was taken last.
    """

    def __init__(self, batch_size: int, max_wait_ms: int) -> None:
        self._batch_size = batch_size
        self._max_wait_ms = max_wait_ms
        self._waiting: deque[Item] = deque()
        self._since_ms: deque[int] = deque()
        self.waited_ms = 0

    def __len__(self) -> int:
        """The number of items that wait."""
        return len(self._waiting)

    @property
    def has_whole_batch(self) -> bool:
        """Whether as many wait as a batch takes."""
        return len(self._waiting) >= self._batch_size

    def add(self, items: Sequence[Item], now_ms: int) -> None:
        """Takes items in."""
        self._waiting.extend(items)
        self._since_ms.extend(repeat(now_ms, len(items)))

    def take(self, now_ms: int) -> list[Item]:
        """Returns the next batch, or an empty list if none should leave yet."""
        count = min(self._batch_size, len(self._waiting))
        if count < self._batch_size and not (count and now_ms - self._since_ms[0] >= self._max_wait_ms):
            return []
        self.waited_ms = now_ms - self._since_ms[0]
        for _ in range(count):
            self._since_ms.popleft()
        return [self._waiting.popleft() for _ in range(count)]

    def clear(self) -> None:
        """Drops what waits."""
        self._waiting.clear()
        self._since_ms.clear()
