"""The two clocks, read here and passed on as numbers."""

import time


def monotonic_ms() -> int:
    """Returns the time for waits and idleness; only differences mean something."""
    return time.monotonic_ns() // 1_000_000


def wall_ms() -> int:
    """Returns the time for what people read: milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
