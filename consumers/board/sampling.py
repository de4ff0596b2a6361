"""Which of many are shown. Pure: time is an argument."""

from collections.abc import Sequence
from typing import TypeVar

_Item = TypeVar("_Item")


class Sampler:
    """Lets `per_second` items through on average, and up to `burst` at once after a quiet time."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = float(burst)
        self._last_s: float | None = None

    def choose(self, items: Sequence[_Item], now_s: float) -> Sequence[_Item]:
        """Returns the newest of the items, which come oldest first, as many as may be shown now."""
        if self._last_s is not None:
            self._tokens = min(self._burst, self._tokens + (now_s - self._last_s) * self._per_second)
        self._last_s = now_s
        count = min(len(items), int(self._tokens))
        self._tokens -= count
        return items[len(items) - count :]
