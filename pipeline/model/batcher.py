"""When a batch leaves: it is full, or its oldest item has waited long enough."""

from collections import deque
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
        self._waiting: deque[tuple[int, Item]] = deque()
        self.waited_ms = 0

    def __len__(self) -> int:
        """The number of items that wait."""
        return len(self._waiting)

    def add(self, item: Item, now_ms: int) -> None:
        """Takes an item in."""
        self._waiting.append((now_ms, item))

    def take(self, now_ms: int) -> list[Item]:
        """Returns the next batch, or an empty list if none should leave yet."""
        full = len(self._waiting) >= self._batch_size
        if not full and not (self._waiting and now_ms - self._waiting[0][0] >= self._max_wait_ms):
            return []
        self.waited_ms = now_ms - self._waiting[0][0]
        return [self._waiting.popleft()[1] for _ in range(min(self._batch_size, len(self._waiting)))]

    def clear(self) -> None:
        """Drops what waits."""
        self._waiting.clear()
