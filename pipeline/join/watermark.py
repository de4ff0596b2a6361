"""How far event time has come in a lane, and what has come of a partition beyond that."""

from collections import deque

from pipeline.events.records import Modality


class Watermark:
    """The lane's watermark: the slowest of its three partitions, and never back.

    A partition's own watermark is the newest event time it has shown, less `out_of_order_ms`. It is left out of
    the minimum only when it has been at its end for `idle_ms`: one that is merely slow holds the lane. When all
    three are at their ends that long, the watermark moves on with the clock, so that the last windows close.
    """

    def __init__(self, out_of_order_ms: int, idle_ms: int) -> None:
        self._out_of_order_ms = out_of_order_ms
        self._idle_ms = idle_ms
        self._newest: dict[Modality, int | None] = dict.fromkeys(Modality)
        self._at_end_since: dict[Modality, int | None] = dict.fromkeys(Modality)
        self._quiet_since: dict[Modality, int | None] = dict.fromkeys(Modality)
        self._oldest_ms: int | None = None
        self._value: int | None = None

    @property
    def value(self) -> int | None:
        """The watermark as of the last `advance`, in milliseconds of event time; None before there is one."""
        return self._value

    def observe(self, modality: Modality, oldest_ms: int, newest_ms: int) -> None:
        """Records came with event times from `oldest_ms` to `newest_ms`: their partition is not at its end."""
        self._at_end_since[modality] = self._quiet_since[modality] = None
        newest = self._newest[modality]
        if newest is None or newest_ms > newest:
            self._newest[modality] = newest_ms
        if self._oldest_ms is None or oldest_ms < self._oldest_ms:
            self._oldest_ms = oldest_ms

    def at_end(self, modality: Modality, now_ms: int) -> None:
        """The partition has delivered all it holds; if that had no event time, it has been at its end ever since."""
        if self._quiet_since[modality] is None:
            self._quiet_since[modality] = now_ms
        self._at_end_since[modality] = self._quiet_since[modality]

    def not_at_end(self, modality: Modality) -> None:
        """The partition may hold more than it has delivered."""
        self._at_end_since[modality] = None

    def advance(self, now_ms: int) -> int | None:
        """Returns the watermark now; the clock counts only where partitions are at their ends."""
        if waiting := self._waiting(now_ms):
            known = [time for time in waiting if time is not None]
            reached = min(known) if len(known) == len(waiting) else None
        else:
            reached = self._moved_on_with_clock(now_ms)
        if reached is not None:
            reached -= self._out_of_order_ms
            self._value = reached if self._value is None else max(self._value, reached)
        return self._value

    def newest_ms(self, modality: Modality) -> int | None:
        """Returns the newest event time that a partition has shown."""
        return self._newest[modality]

    def slowest_ms(self, now_ms: int) -> int | None:
        """Returns the newest event time of the lane's slowest partition; None if there is nothing to wait for."""
        waiting = self._waiting(now_ms)
        if self._oldest_ms is None or not waiting:
            return None
        return min(self._oldest_ms if time is None else time for time in waiting)

    def _waiting(self, now_ms: int) -> list[int | None]:
        """Returns the newest event times of the partitions that have not been at their ends for long."""
        return [time for modality, time in self._newest.items() if not self._idle(modality, now_ms)]

    def _idle(self, modality: Modality, now_ms: int) -> bool:
        since = self._at_end_since[modality]
        return since is not None and now_ms - since >= self._idle_ms

    def _moved_on_with_clock(self, now_ms: int) -> int | None:
        known = [time for time in self._newest.values() if time is not None]
        ends = [since for since in self._at_end_since.values() if since is not None]
        return max(known) + now_ms - max(ends) if known else None


class Lead:
    """How much of a partition has come beyond an event time: until the others get there, it can only wait."""

    def __init__(self) -> None:
        self._deliveries: deque[tuple[int, int]] = deque()
        self._bytes = 0

    def note(self, newest_ms: int, size_bytes: int) -> None:
        """A delivery of this size has come; `newest_ms` is the newest event time so far, which does not go back."""
        self._deliveries.append((newest_ms, size_bytes))
        self._bytes += size_bytes

    def beyond(self, time_ms: int) -> int:
        """Returns the size of the deliveries that went beyond a time; what has been passed once counts no more."""
        while self._deliveries and self._deliveries[0][0] <= time_ms:
            self._bytes -= self._deliveries.popleft()[1]
        return self._bytes
