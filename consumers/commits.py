"""What every program says of its commits: when the last one was, and whether they stand still while something waits."""

import time
from collections.abc import Callable

from pipeline.telemetry import metrics
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


class ReadCommits:
    """Notes the commits of a program that commits what it has read, when that is done.

    Args:
        health: is told.
        suspects: whose fault it may be that none goes through, for a sentence.
        clock_s: a monotonic clock.
    """

    def __init__(self, health: Health, suspects: str, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._watch = CommitWatch(health, suspects, clock_s)
        self._clock_s = clock_s
        self._last_s: float | None = None
        self._is_owing = False

    def read(self) -> None:
        """Something was read that is not committed yet."""
        self._is_owing = True

    def committed(self, *, with_rest: bool = False) -> None:
        """A commit went through; `with_rest` if more has been read meanwhile."""
        self._last_s, self._is_owing = self._clock_s(), with_rest
        metrics.LAST_COMMIT.set_to_current_time()

    def taken_away(self) -> None:
        """What was read is for somebody else to commit."""
        self._is_owing = False

    def look(self) -> None:
        """Takes note of how things stand; is called about once a second."""
        self._watch.look(self._last_s, "what was read last waits" if self._is_owing else None)
