"""A lane: the partitions of one number of the three source topics, joined and accounted for."""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from pipeline.events.records import Modality
from pipeline.join.moment import Window
from pipeline.join.outcomes import JoinRules, Outcome, Record
from pipeline.join.tracker import Lookback, OffsetTracker, Position
from pipeline.join.watermark import Lead, Watermark
from pipeline.join.window import WindowJoin

RECORD_BYTES = 512
"""So much memory, or a little less, a record takes beside its value."""
_LOOKBACK_STEPS = 16
_TIME = attrgetter("event_time_ms")


class Ahead(NamedTuple):
    """How far a partition is ahead: in event time, and by the memory that its records take which came beyond."""

    ms: int
    size_bytes: int


class Lane:
    """What one consumer knows of partition p of all three source topics.

    Pure. The caller has every delivered record admitted first, and learns which of them were finished before a
    restart. Of all, those that can be joined then go to `add`; the unfinished others straight to their dead letters.
    Each unfinished record is `finish`ed once, when its output is in the transaction.
    """

    def __init__(self, rules: JoinRules, starts: Mapping[Modality, Position]) -> None:
        step_ms = max(1, rules.window_ms // _LOOKBACK_STEPS)
        self._memory_ms = rules.memory_ms
        self._watermark = Watermark(rules.out_of_order_ms, rules.idle_ms)
        self._join = WindowJoin(rules)
        self._trackers = {modality: OffsetTracker(starts[modality]) for modality in Modality}
        self._leads = {modality: Lead() for modality in Modality}
        self._lookbacks = {modality: Lookback(starts[modality].replay_from, step_ms) for modality in Modality}
        self._amendable = {modality: frozenset(starts[modality].amendable) for modality in Modality}
        self._replaying = {modality: starts[modality].high for modality in Modality if starts[modality].high}
        self._changed = set(Modality)
        self._last_amendable: Mapping[Modality, frozenset[int]] = {}

    @property
    def watermark_ms(self) -> int | None:
        """The lane's watermark as of the last `advance`."""
        return self._watermark.value

    @property
    def open_windows(self) -> int:
        """Keys that wait for more inputs."""
        return len(self._join)

    @property
    def kept_bytes(self) -> int:
        """Payload of finished records that is kept for amendments."""
        return self._join.kept_bytes

    def unfinished(self, modality: Modality) -> int:
        """Records of a partition that have no outcome yet."""
        return len(self._trackers[modality])

    def read_up_to(self, modality: Modality) -> int:
        """The offset below which all records of a partition have been delivered."""
        return self._trackers[modality].next

    def vanished(self, modality: Modality) -> int:
        """Records that a restart should have read again and that the broker had deleted."""
        return self._trackers[modality].vanished

    def admit(self, modality: Modality, offsets: Sequence[int]) -> frozenset[int]:
        """Takes note of delivered records, at least one; returns those that were finished before a restart."""
        self._changed.add(modality)
        self._watermark.not_at_end(modality)
        finished = self._trackers[modality].admit(offsets)
        self._read_up_to(modality, offsets[-1] + 1)
        return finished

    def add(self, modality: Modality, records: Sequence[Record], finished: Container[int] = ()) -> list[Outcome]:
        """Joins admitted records of a partition; returns what is settled by them. The others wait.

        Args:
            modality: the partition's.
            records: in the order of their delivery.
            finished: offsets of those that had their outcome before a restart: only their keys and times are kept.
        """
        if not records:
            return []
        newest_ms = max(map(_TIME, records))
        self._watermark.observe(modality, min(map(_TIME, records)), newest_ms)
        self._lookbacks[modality].note(records[0].offset, newest_ms)
        if not finished:
            return self._join.add(modality, records)
        outcomes: list[Outcome] = []
        for record in records:
            if record.offset in finished:
                self._join.remember(record, amendable=record.offset in self._amendable[modality])
            else:
                outcomes += self._join.add(modality, [record])
        return outcomes

    def note_payload(self, modality: Modality, records: int, payload_bytes: int) -> None:
        """So many records with so much payload were added last, without those that were finished before."""
        if (newest_ms := self._watermark.newest_ms(modality)) is not None:
            self._leads[modality].note(newest_ms, payload_bytes + RECORD_BYTES * records)

    def finish(self, modality: Modality, offsets: Iterable[int]) -> None:
        """Admitted records of a partition have their outputs in the transaction being built."""
        self._changed.add(modality)
        self._trackers[modality].finish(offsets)

    def at_end(self, modality: Modality, offset: int, now_ms: int) -> None:
        """A partition has delivered everything below `offset`."""
        self._changed.add(modality)
        self._trackers[modality].at_end(offset)
        self._watermark.at_end(modality, now_ms)
        self._read_up_to(modality, offset)

    def not_at_end(self, modality: Modality) -> None:
        """A partition was paused: it may hold more than it delivers."""
        self._watermark.not_at_end(modality)

    def advance(self, now_ms: int) -> list[Outcome]:
        """Moves the watermark on; returns what became of the windows whose deadline has passed."""
        watermark_ms = self._watermark.advance(now_ms)
        replayed = [] if self._replaying else self._join.end_replay()
        return replayed if watermark_ms is None else replayed + self._join.advance(watermark_ms)

    def withdraw(self, window: Window) -> None:
        """A window got no answer after all, or not the amendment that was to be: it can be amended no more."""
        self._join.withdraw(window)

    def give_up_amendments(self) -> None:
        """Lets go what is only kept for amendments, and what was to be: the missing inputs will be late."""
        self._amendable = dict.fromkeys(Modality, frozenset())
        self._join.give_up_amendments()

    def ahead(self, now_ms: int) -> dict[Modality, Ahead]:
        """Returns how far each partition is ahead of the lane's slowest; nothing if there is nothing to wait for."""
        slowest_ms = self._watermark.slowest_ms(now_ms)
        if slowest_ms is None:
            return {}
        return {
            modality: Ahead((self._watermark.newest_ms(modality) or slowest_ms) - slowest_ms, lead.beyond(slowest_ms))
            for modality, lead in self._leads.items()
        }

    def position(self, modality: Modality) -> Position:
        """Returns what to commit for a partition."""
        return self._positions([modality], self._amendable_now())[modality]

    def take_changed(self) -> dict[Modality, Position]:
        """Returns the positions that have changed since the last call.

        What can be amended changes in all partitions of a window at once: a restart that learnt it of some would amend
        with less than was answered.
        """
        before, self._last_amendable = self._last_amendable, self._amendable_now()
        changed, self._changed = self._changed, set()
        changed |= {modality for modality, now in self._last_amendable.items() if now != before.get(modality)}
        return self._positions(changed, self._last_amendable)

    def _positions(
        self, modalities: Collection[Modality], amendable: Mapping[Modality, frozenset[int]]
    ) -> dict[Modality, Position]:
        if (watermark_ms := self._watermark.value) is not None:
            for modality in modalities:
                horizon_ms = watermark_ms - self._memory_ms
                self._trackers[modality].replay_from(self._lookbacks[modality].offset_of(horizon_ms))
        return {modality: self._trackers[modality].position(amendable[modality]) for modality in modalities}

    def _amendable_now(self) -> dict[Modality, frozenset[int]]:
        """Returns what a restart needs to amend; of what was committed so, also what has not been read again yet."""
        records = self._join.amendable()
        return {
            modality: frozenset(record.offset for record in records if record.modality is modality)
            | {offset for offset in self._amendable[modality] if offset >= self._trackers[modality].next}
            for modality in Modality
        }

    def _read_up_to(self, modality: Modality, offset: int) -> None:
        if offset >= self._replaying.get(modality, offset + 1):
            del self._replaying[modality]
