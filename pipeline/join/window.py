"""The join of one lane: which records of a key are one moment."""

from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import count

from pipeline.events.records import Modality
from pipeline.join.outcomes import (
    Amended,
    Duplicate,
    Incomplete,
    Joined,
    JoinRules,
    Late,
    Outcome,
    Partial,
    Record,
)


class _Window:
    """A moment of a key: open while it gathers records, then remembered as closed.

    A partially answered one keeps its records while it is amendable. `held` are records that a restart read before
    those of the answer that they amend.
    """

    __slots__ = ("amendable", "anchor_ms", "held", "key", "open", "records", "seen", "withdrawn")

    def __init__(self, key: bytes, anchor_ms: int) -> None:
        self.key = key
        self.anchor_ms = anchor_ms
        self.open = True
        self.amendable = False
        self.withdrawn = False
        self.seen: set[Modality] = set()
        self.records: list[Record] = []
        self.held: list[Record] = []

    def in_order(self) -> tuple[Record, ...]:
        return tuple(sorted(self.records, key=lambda record: record.modality))


class WindowJoin:
    """Joins the records of one lane by key.

    Pure: time comes in as watermarks, and every record that goes in comes out in exactly one outcome.

    A record belongs to the window of its key whose first record is at most `window_ms` away in event time, so a
    key may be used again after that. A window closes when all three inputs are there or the watermark passes its
    first record by `window_ms`; it is remembered for one window more, to tell late and doubled records from a new
    moment. A partially answered one can be amended until the watermark is `amend_ms` past its deadline.
    """

    def __init__(self, rules: JoinRules) -> None:
        self._rules = rules
        self._watermark_ms: int | None = None
        self._windows: dict[bytes, tuple[_Window, ...]] = {}
        self._due: list[tuple[int, int, _Window]] = []
        self._ticket = count()
        self._open = 0
        self._amendable: dict[_Window, None] = {}
        self._holding: list[_Window] = []
        self._replaying = True
        self.kept_bytes = 0

    def __len__(self) -> int:
        """The number of open windows."""
        return self._open

    def add(self, record: Record) -> Outcome | None:
        """Takes a record in; returns an outcome if this settles something, else it waits."""
        window = self._window_of(record)
        if window is None:
            if self._is_past(record.event_time_ms + self._rules.window_ms):
                return Late(record, self._watermark_or(record.event_time_ms))
            window = self._open_window(record.key, record.event_time_ms)
        elif record.modality in window.seen:
            return Duplicate(record)
        elif not window.open and window.amendable and self._replaying:
            self._hold(window, (record,))
            return None
        elif not window.open:
            return self._amend(window, record)
        window.seen.add(record.modality)
        window.records.append(record)
        if len(window.records) < len(Modality):
            return None
        return Joined(record.key, self._close(window))

    def remember(self, record: Record, *, amendable: bool = False) -> None:
        """Learns of a record that already had its outcome before a restart: its window is closed.

        A window that is open stays open if its outcome was that of a duplicate.

        Args:
            record: what was finished.
            amendable: whether its outcome was a partial answer that may still be amended.
        """
        window = self._window_of(record)
        if window is None:
            window = self._open_window(record.key, record.event_time_ms)
            self._close(window)
        elif window.open and amendable and record.modality not in window.seen:
            self._hold(window, self._close(window))
        if window.open:
            return
        window.seen.add(record.modality)
        if amendable:
            self._keep(window, [*window.records, record])

    def end_replay(self) -> list[Outcome]:
        """All from before a restart has been read: returns what became of the amendments that waited for that."""
        self._replaying = False
        holding, self._holding = self._holding, []
        return [self._amend(window, record) for window in holding for record in window.held]

    def withdraw(self, key: bytes, event_time_ms: int) -> None:
        """The window of this key and time got no answer after all: it cannot be amended."""
        for window in self._near(key, event_time_ms):
            window.withdrawn = True
            self._drop(window)

    def is_withdrawn(self, key: bytes, event_time_ms: int) -> bool:
        """Returns whether an answer that is being amended was withdrawn."""
        return any(window.withdrawn for window in self._near(key, event_time_ms))

    def amendable(self) -> list[Record]:
        """Returns the records that a restart needs to amend what was answered partially."""
        return [record for window in self._amendable for record in window.records]

    def give_up_amendments(self) -> None:
        """Lets the records of answered windows go when their memory is needed: missing inputs will be late."""
        for window in list(self._amendable):
            self._drop(window)

    def advance(self, watermark_ms: int) -> list[Outcome]:
        """Moves event time on; returns what became of the windows whose deadline has passed."""
        if self._watermark_ms is None or watermark_ms > self._watermark_ms:
            self._watermark_ms = watermark_ms
        outcomes: list[Outcome] = []
        while self._due and self._is_past(self._due[0][0]):
            _, _, window = heappop(self._due)
            if window.open:
                outcomes.append(self._expire(window))
            self._age(window)
        return outcomes

    def _age(self, window: _Window) -> None:
        """Plans the next time that something is due for a closed window, or forgets it."""
        amend_until_ms = window.anchor_ms + self._rules.window_ms + self._rules.amend_ms
        if window.amendable and not self._is_past(amend_until_ms):
            self._plan(window, amend_until_ms)
            return
        self._drop(window)
        forget_ms = window.anchor_ms + self._rules.memory_ms
        if self._is_past(forget_ms):
            self._forget(window)
        else:
            self._plan(window, forget_ms)

    def _plan(self, window: _Window, due_ms: int) -> None:
        heappush(self._due, (due_ms, next(self._ticket), window))

    def _is_past(self, time_ms: int) -> bool:
        return self._watermark_ms is not None and self._watermark_ms > time_ms

    def _watermark_or(self, time_ms: int) -> int:
        return time_ms if self._watermark_ms is None else self._watermark_ms

    def _near(self, key: bytes, event_time_ms: int) -> list[_Window]:
        windows = self._windows.get(key, ())
        return [window for window in windows if abs(event_time_ms - window.anchor_ms) <= self._rules.window_ms]

    def _window_of(self, record: Record) -> _Window | None:
        for window in self._windows.get(record.key, ()):
            if abs(record.event_time_ms - window.anchor_ms) <= self._rules.window_ms:
                return window
        return None

    def _open_window(self, key: bytes, anchor_ms: int) -> _Window:
        window = _Window(key, anchor_ms)
        self._windows[key] = (*self._windows.get(key, ()), window)
        self._plan(window, anchor_ms + self._rules.window_ms)
        self._open += 1
        return window

    def _amend(self, window: _Window, record: Record) -> Outcome:
        """Decides on an input that comes after its window closed without it."""
        window.seen.add(record.modality)
        if not window.amendable:
            return Late(record, self._watermark_or(window.anchor_ms))
        self._keep(window, [*window.records, record])
        records = window.in_order()
        if len(records) == len(Modality):
            self._drop(window)
        return Amended(window.key, records, record)

    def _hold(self, window: _Window, records: Iterable[Record]) -> None:
        """Lets an amendment wait until all records that it amends have been read again."""
        if not window.held:
            self._holding.append(window)
        for record in records:
            window.seen.add(record.modality)
            window.held.append(record)

    def _keep(self, window: _Window, records: Iterable[Record]) -> None:
        self._drop(window)
        window.amendable = True
        window.records = list(records)
        self._amendable[window] = None
        self.kept_bytes += sum(record.size_bytes for record in window.records)

    def _drop(self, window: _Window) -> None:
        if window.amendable:
            self.kept_bytes -= sum(record.size_bytes for record in window.records)
            self._amendable.pop(window)
        window.amendable = False
        window.records = []

    def _close(self, window: _Window) -> tuple[Record, ...]:
        self._open -= 1
        records = window.in_order()
        window.open = False
        window.records = []
        return records

    def _expire(self, window: _Window) -> Outcome:
        records = self._close(window)
        if len(records) < self._rules.min_modalities:
            return Incomplete(window.key, records)
        if self._rules.amend_ms:
            self._keep(window, records)
        return Partial(window.key, records)

    def _forget(self, window: _Window) -> None:
        rest = tuple(other for other in self._windows[window.key] if other is not window)
        if rest:
            self._windows[window.key] = rest
        else:
            del self._windows[window.key]
