"""The two clocks, read here and passed on as numbers."""

import time
from collections.abc import Callable

LONGEST_GAP_MS = 200


class AttendedClock:
    """Counts only the time in which somebody looks at it: a gap of more than `LONGEST_GAP_MS` counts as one of that.

    A partition at its end is idle by this clock: while a process is suspended, its partitions may fill.

    Args:
        clock_ms: a monotonic clock.
    """

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self._looked_ms = clock_ms()
        self._attended_ms = self._looked_ms

    def look(self) -> int:
        """Returns the time now, in milliseconds."""
        now_ms = self._clock_ms()
        self._attended_ms += min(LONGEST_GAP_MS, now_ms - self._looked_ms)
        self._looked_ms = now_ms
        return self._attended_ms


def monotonic_ms() -> int:
    """Returns the time for waits and idleness; only differences mean something."""
    return time.monotonic_ns() // 1_000_000


def wall_ms() -> int:
    """Returns the time for what people read: milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
