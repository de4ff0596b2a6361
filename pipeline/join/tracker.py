"""Which records of a partition are finished, and where a restart has to begin."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

_UNFINISHED = b"\x01"


@dataclass(frozen=True, slots=True)
class Position:
    """What is known of a partition's records, and committed for it.

    Every offset below `low` is finished; from `low` up to `high`, all but `unfinished` are; from `high` on, none.
    `low` is the lowest unfinished offset, or `high`. A restart reads from `replay_from`, at most `low`, to
    remember the keys of one window before. `amendable` are finished: partially answered, and a missing input may
    still come.
    """

    low: int
    high: int
    unfinished: tuple[int, ...]
    replay_from: int
    amendable: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        expected = self.unfinished[0] if self.unfinished else self.high
        within = not self.unfinished or self.unfinished[-1] < self.high
        if self.amendable:
            within &= self.replay_from <= self.amendable[0] <= self.amendable[-1] < self.high
            within &= not set(self.amendable) & set(self.unfinished)
        if not (0 <= self.replay_from <= self.low == expected <= self.high and within):
            raise ValueError(f"{self} contradicts itself")

    @classmethod
    def at(cls, offset: int) -> "Position":
        """Returns the position of one who starts fresh at `offset`."""
        return cls(low=offset, high=offset, unfinished=(), replay_from=offset)


class OffsetTracker:
    """Follows the records of one partition, in the order of their offsets, until each is finished.

    Keeps a byte for each offset from the lowest unfinished one up to the highest seen.
    """

    def __init__(self, start: Position) -> None:
        self._begin = start.low
        self._marks = bytearray(start.high - start.low)
        for offset in start.unfinished:
            self._marks[offset - self._begin] = True
        self._replay_from = start.replay_from
        self._awaited = deque(start.unfinished)
        self._known = start.high
        self._next = start.replay_from
        self.vanished = 0

    def __len__(self) -> int:
        """The number of unfinished records."""
        return self._marks.count(_UNFINISHED)

    @property
    def next(self) -> int:
        """The lowest offset that may still be delivered."""
        return self._next

    def admit(self, offsets: Sequence[int]) -> frozenset[int]:
        """Takes note of delivered records; returns those among them that were finished before the restart.

        Args:
            offsets: of records in the order of their delivery, at least one.

        Raises:
            ValueError: a record comes out of order; going on could skip those between.
        """
        first, last = offsets[0], offsets[-1]
        if first >= max(self._known, self._next) and last - first == len(offsets) - 1:
            self._give_up_awaited(last)
            self._extend(first, len(offsets))
            return frozenset()
        return frozenset(offset for offset in offsets if not self._admit(offset))

    def finish(self, offsets: Iterable[int]) -> None:
        """These records have their outcomes, which are in the transaction being built.

        Raises:
            KeyError: one of them is not unfinished.
        """
        marks, begin = self._marks, self._begin
        for offset in offsets:
            if offset < begin or not marks[offset - begin]:
                raise KeyError(offset)
            marks[offset - begin] = False

    def at_end(self, offset: int) -> None:
        """The partition has delivered everything below `offset`, transaction markers included."""
        self._give_up_awaited(offset)
        self._extend(offset, 0)

    def replay_from(self, offset: int) -> None:
        """A restart no longer needs records below `offset`."""
        self._replay_from = max(self._replay_from, offset)

    def position(self, amendable: Iterable[int] = ()) -> Position:
        """Returns what to commit; of the `amendable` offsets, those that are finished count."""
        self._drop_finished()
        low, high = self._begin, self._begin + len(self._marks)
        unfinished = tuple((np.flatnonzero(np.frombuffer(self._marks, np.bool_)) + low).tolist())
        finished = tuple(sorted(set(amendable).difference(unfinished)))
        return Position(low, high, unfinished, min(self._replay_from, low, *finished[:1]), finished)

    def _admit(self, offset: int) -> bool:
        """Returns whether it has no outcome yet."""
        if offset < self._next:
            raise ValueError(f"offset {offset} was delivered when {self._next} was the next to come")
        self._next = offset + 1
        self._give_up_awaited(offset)
        if self._awaited and self._awaited[0] == offset:
            self._awaited.popleft()
        if offset < self._known:
            return offset >= self._begin and bool(self._marks[offset - self._begin])
        self._extend(offset, 1)
        return True

    def _extend(self, offset: int, count: int) -> None:
        """So many records from `offset` on are unfinished; what lies between the last one and `offset` is none."""
        gap = max(0, offset - self._begin - len(self._marks))
        self._marks += bytes(gap) + _UNFINISHED * count
        self._next = max(self._next, offset + count)

    def _give_up_awaited(self, delivered: int) -> None:
        """Delivery is in order: an unfinished record that is passed over has been deleted by retention."""
        while self._awaited and self._awaited[0] < delivered:
            self._marks[self._awaited.popleft() - self._begin] = False
            self.vanished += 1

    def _drop_finished(self) -> None:
        first = self._marks.find(_UNFINISHED)
        finished = len(self._marks) if first < 0 else first
        del self._marks[:finished]
        self._begin += finished


class Lookback:
    """Finds the offset from which all records of the last stretch of event time can be read again.

    Keeps a checkpoint (offset, newest event time before it) whenever that time has grown by `step_ms`.
    """

    def __init__(self, start: int, step_ms: int) -> None:
        self._step_ms = step_ms
        self._newest_ms: int | None = None
        self._checkpoints: deque[tuple[int, int | None]] = deque([(start, None)])

    def note(self, offset: int, event_time_ms: int) -> None:
        """Records were delivered: the first one's offset, and the newest time among them."""
        newest, (_, last) = self._newest_ms, self._checkpoints[-1]
        if newest is not None and (last is None or newest >= last + self._step_ms):
            self._checkpoints.append((offset, newest))
        if newest is None or event_time_ms > newest:
            self._newest_ms = event_time_ms

    def offset_of(self, horizon_ms: int) -> int:
        """Returns an offset below which every record is older than `horizon_ms`. Horizons must not go back."""
        while len(self._checkpoints) > 1:
            newest_before = self._checkpoints[1][1]
            assert newest_before is not None
            if newest_before >= horizon_ms:
                break
            self._checkpoints.popleft()
        return self._checkpoints[0][0]
