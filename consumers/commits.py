"""What every program says of its commits: when the last one was, and whether they stand still while something waits."""

import time
from collections.abc import Callable

from pipeline.telemetry.health import Health

STUCK_S = 60.0


class CommitWatch:
    """Notes a program's commits in its health.

    Args:
        health: is told.
        suspects: whose fault it may be that none goes through, for a sentence.
        clock_s: a monotonic clock.
    """

    def __init__(self, health: Health, suspects: str, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._health = health
        self._suspects = suspects
        self._clock_s = clock_s
        self._waiting_since_s: float | None = None

    def look(self, last_s: float | None, waiting: str | None) -> None:
        """Takes note of how things stand; is called about once a second.

        Args:
            last_s: when the last commit went through, on the clock; None before the first.
            waiting: what waits for a commit, as in "3 records wait"; None for nothing.
        """
        now_s = self._clock_s()
        if waiting is None:
            self._waiting_since_s = None
        elif self._waiting_since_s is None:
            self._waiting_since_s = now_s
        ago = "None has gone through yet" if last_s is None else f"The last one went through {now_s - last_s:.1f} s ago"
        stuck_s = now_s - max(self._waiting_since_s or now_s, last_s or 0.0)
        if stuck_s < STUCK_S:
            self._health.note("commits", f"{ago}.")
        else:
            says = f"{ago}, and {waiting}: see the log for what {self._suspects} says."
            self._health.note("commits", says, ok=False)
