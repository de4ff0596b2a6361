"""The join of one lane: which records of a key are one moment."""

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

from pipeline.events.records import Modality
from pipeline.events.rows import row_maker
from pipeline.join.moment import State, Window
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
from pipeline.join.timeline import Timeline

_ALL_SEEN = (1 << len(Modality)) - 1
_NO_RECORDS: list[Record | None] = []
_ANCHOR = attrgetter("anchor_ms")
_TIMELINE_STEPS = 512
_LEAST_AMENDED = 2
_joined = row_maker(Joined)


class WindowJoin:
    """Joins the records of one lane by key.

    Pure: time comes in as watermarks, and every record that goes in comes out in exactly one outcome.

    A record belongs to the window of its key whose first record is at most `window_ms` away in event time, so a
    key may be used again after that. A window closes when all three inputs are there or the watermark passes its
    first record by `window_ms`; it is remembered for one window more, to tell late and doubled records from a new
    moment. A partially answered one can be amended until the watermark is `amend_ms` past its deadline.
    """

    def __init__(self, rules: JoinRules) -> None:
        step_ms = max(1, rules.window_ms // _TIMELINE_STEPS)
        self._rules = rules
        self._watermark_ms: int | None = None
        self._windows: dict[bytes, Window] = {}
        self._until_deadline: Timeline[Window] = Timeline(step_ms)
        self._until_amended: Timeline[Window] = Timeline(step_ms)
        self._until_forgotten: Timeline[Window] = Timeline(step_ms)
        self._open = 0
        self._amendable: dict[Window, None] = {}
        self._held: dict[Window, list[Record]] = {}
        self._replaying = True
        self._replayed: list[Window] = []
        self.kept_bytes = 0

    def __len__(self) -> int:
        """The number of open windows."""
        return self._open

    def add(self, modality: Modality, records: Iterable[Record]) -> list[Outcome]:
        """Takes records of one modality in; returns what is settled by them. The others wait."""
        outcomes: list[Outcome] = []
        opened: list[Window] = []
        windows, find, bit, window_ms, is_open = (
            self._windows,
            self._windows.get,
            1 << modality,
            self._rules.window_ms,
            State.OPEN,
        )
        for record in records:
            key, time_ms = record.key, record.event_time_ms
            window = find(key)
            if window is None and not self._is_past(time_ms + window_ms):
                windows[key] = window = Window(key, time_ms)
                opened.append(window)
            elif (
                window is None
                or window.state is not is_open
                or window.seen & bit
                or not -window_ms <= time_ms - window.anchor_ms <= window_ms
            ):
                window = self._window_for(record, bit, outcomes)
                if window is None:
                    continue
            window.seen |= bit
            window.records[modality] = record
            if window.seen == _ALL_SEEN:
                outcomes.append(_joined((key, self._close(window))))
        self._until_deadline.add(opened)
        self._open += len(opened)
        return outcomes

    def remember(self, record: Record, *, amendable: bool = False) -> None:
        """Learns of a record that already had its outcome before a restart: its window is closed.

        A window that is open stays open if its outcome was that of a duplicate.

        Args:
            record: what was finished.
            amendable: whether its outcome was a partial answer that may still be amended.
        """
        window, bit = self._window_of(record), 1 << record.modality
        if window is None:
            window = self._open_window(record.key, record.event_time_ms)
            self._close(window)
        elif window.state is State.OPEN and amendable and not window.seen & bit:
            self._hold(window, self._close(window))
        if window.state is State.OPEN:
            return
        window.seen |= bit
        if not amendable or window.state is State.ENDED:
            return
        if window.state is State.AMENDABLE and window.records[record.modality]:
            self._drop(window)  # read in another order, two answers have met in one window
            return
        self._keep(window, [record])
        self._replayed.append(window)

    def end_replay(self) -> list[Outcome]:
        """All from before a restart has been read: returns what became of the amendments that waited for that.

        An answer of which just one record is there again may have had more of them: it is not amended.
        """
        self._replaying = False
        for window in self._replayed:
            if len(window.in_order()) < _LEAST_AMENDED:
                self._drop(window)
        self._replayed.clear()
        held, self._held = self._held, {}
        return [self._amend(window, record) for window, records in held.items() for record in records]

    def withdraw(self, window: Window) -> None:
        """A window got no answer after all, or not the amendment that was to be: it can be amended no more."""
        self._drop(window)
        window.state = State.WITHDRAWN

    def amendable(self) -> list[Record]:
        """Returns the records that a restart needs to amend what was answered partially."""
        return [record for window in self._amendable for record in window.in_order()]

    def give_up_amendments(self) -> None:
        """Lets the records of answered windows go: missing inputs will be late."""
        for window in list(self._amendable):
            self._drop(window)

    def advance(self, watermark_ms: int) -> list[Outcome]:
        """Moves event time on; returns what became of the windows whose deadline has passed."""
        if self._watermark_ms is None or watermark_ms > self._watermark_ms:
            self._watermark_ms = watermark_ms
        rules, now_ms = self._rules, self._watermark_ms
        passed = self._until_deadline.pop_before(now_ms - rules.window_ms)
        due = sorted([window for window in passed if window.state is State.OPEN], key=_ANCHOR)
        outcomes = [self._expire(window) for window in due]
        closed = [window for window in passed if window.state is not State.AMENDABLE]
        self._until_amended.add([window for window in passed if window.state is State.AMENDABLE])
        for window in self._until_amended.pop_before(now_ms - rules.window_ms - rules.amend_ms):
            self._drop(window)
            closed.append(window)
        self._until_forgotten.add(closed)
        self._forget(self._until_forgotten.pop_before(now_ms - rules.memory_ms))
        return outcomes

    def _window_for(self, record: Record, bit: int, outcomes: list[Outcome]) -> Window | None:
        """Returns the open window that a record belongs in; if there is none, settles the record or holds it."""
        window = self._window_of(record)
        if window is None:
            if not self._is_past(record.event_time_ms + self._rules.window_ms):
                return self._open_window(record.key, record.event_time_ms)
            outcomes.append(Late(record, self._watermark_or(record.event_time_ms)))
        elif window.seen & bit:
            outcomes.append(Duplicate(record))
        elif window.state is State.OPEN:
            return window
        elif window.state is State.AMENDABLE and self._replaying:
            self._hold(window, [record])
        else:
            outcomes.append(self._amend(window, record))
        return None

    def _is_past(self, time_ms: int) -> bool:
        return self._watermark_ms is not None and self._watermark_ms > time_ms

    def _watermark_or(self, time_ms: int) -> int:
        return time_ms if self._watermark_ms is None else self._watermark_ms

    def _near(self, key: bytes, event_time_ms: int) -> Iterator[Window]:
        """Yields the windows of a key that a time belongs to, the oldest first."""
        window = self._windows.get(key)
        while window is not None:
            if abs(event_time_ms - window.anchor_ms) <= self._rules.window_ms:
                yield window
            window = window.later

    def _window_of(self, record: Record) -> Window | None:
        return next(self._near(record.key, record.event_time_ms), None)

    def _open_window(self, key: bytes, anchor_ms: int) -> Window:
        window = Window(key, anchor_ms)
        newest = self._windows.setdefault(key, window)
        if newest is not window:
            while newest.later is not None:
                newest = newest.later
            newest.later = window
        self._until_deadline.add([window])
        self._open += 1
        return window

    def _amend(self, window: Window, record: Record) -> Outcome:
        """Decides on an input that comes after its window closed without it."""
        window.seen |= 1 << record.modality
        if window.state is not State.AMENDABLE:
            return Late(record, self._watermark_or(window.anchor_ms))
        answered_ms = min(before.event_time_ms for before in window.in_order())
        self._keep(window, [record])
        amended = Amended(window.key, window.in_order(), record, window)
        if len(amended.records) < len(Modality) and record.event_time_ms < answered_ms:
            self._drop(window)  # the next amendment could not tell the time of what was answered first
        return amended

    def _hold(self, window: Window, records: Iterable[Record]) -> None:
        """Lets an amendment wait until all records that it amends have been read again."""
        for record in records:
            window.seen |= 1 << record.modality
            self._held.setdefault(window, []).append(record)

    def _keep(self, window: Window, records: Sequence[Record]) -> None:
        """Lets an answered window keep these records, beside those it has, for an amendment."""
        if window.state is not State.AMENDABLE:
            window.state = State.AMENDABLE
            window.records = [None, None, None]
            self._amendable[window] = None
        for record in records:
            window.records[record.modality] = record
        self.kept_bytes += sum(record.size_bytes for record in records)

    def _drop(self, window: Window) -> None:
        """Ends what can be amended of a window, if it can."""
        if window.state is State.AMENDABLE:
            self.kept_bytes -= sum(record.size_bytes for record in window.in_order())
            del self._amendable[window]
            window.state = State.ENDED
            window.records = _NO_RECORDS

    def _close(self, window: Window) -> tuple[Record, ...]:
        self._open -= 1
        records = window.in_order()
        window.state = State.CLOSED
        window.records = _NO_RECORDS
        return records

    def _expire(self, window: Window) -> Outcome:
        records = self._close(window)
        if len(records) < self._rules.min_modalities:
            return Incomplete(window.key, records)
        if self._rules.amend_ms:
            self._keep(window, records)
        return Partial(window.key, records, window)

    def _forget(self, passed: Iterable[Window]) -> None:
        windows = self._windows
        for window in passed:
            if window.state is State.AMENDABLE:
                self._drop(window)
            first = windows[window.key]
            if first is not window:
                while first.later is not window:
                    assert first.later is not None
                    first = first.later
                first.later = window.later
            elif window.later is not None:
                windows[window.key] = window.later
            else:
                del windows[window.key]
