"""Which records of a partition are finished, and where a restart has to begin."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass


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
    """Follows the records of one partition, in the order of their offsets, until each is finished."""

    def __init__(self, start: Position) -> None:
        self._high = start.high
        self._replay_from = start.replay_from
        self._unfinished = set(start.unfinished)
        self._awaited = deque(start.unfinished)
        self._next = start.replay_from
        self.vanished = 0

    def __len__(self) -> int:
        """The number of unfinished records."""
        return len(self._unfinished)

    @property
    def next(self) -> int:
        """The lowest offset that may still be delivered."""
        return self._next

    def admit(self, offset: int) -> bool:
        """Takes note of a delivered record; False if it was finished before the restart.

        Raises:
            ValueError: the record comes out of order; going on could skip those between.
        """
        if offset < self._next:
            raise ValueError(f"offset {offset} was delivered when {self._next} was the next to come")
        self._next = offset + 1
        self._give_up_awaited(offset)
        if self._awaited and self._awaited[0] == offset:
            self._awaited.popleft()
        if offset < self._high:
            return offset in self._unfinished
        self._high = offset + 1
        self._unfinished.add(offset)
        return True

    def finish(self, offset: int) -> None:
        """The record has its outcome, and it is in the transaction being built."""
        self._unfinished.remove(offset)

    def at_end(self, offset: int) -> None:
        """The partition has delivered everything below `offset`, transaction markers included."""
        self._give_up_awaited(offset)
        self._high = max(self._high, offset)

    def replay_from(self, offset: int) -> None:
        """A restart no longer needs records below `offset`."""
        self._replay_from = max(self._replay_from, offset)

    def position(self, amendable: Iterable[int] = ()) -> Position:
        """Returns what to commit; of the `amendable` offsets, those that are finished count."""
        unfinished = tuple(sorted(self._unfinished))
        low = unfinished[0] if unfinished else self._high
        finished = tuple(sorted(set(amendable) - self._unfinished))
        return Position(low, self._high, unfinished, min(self._replay_from, low, *finished[:1]), finished)

    def _give_up_awaited(self, delivered: int) -> None:
        """Delivery is in order: an unfinished record that is passed over has been deleted by retention."""
        while self._awaited and self._awaited[0] < delivered:
            self._unfinished.discard(self._awaited.popleft())
            self.vanished += 1


class Lookback:
    """Finds the offset from which all records of the last stretch of event time can be read again.

    Keeps a checkpoint (offset, newest event time before it) whenever that time has grown by `step_ms`.
    """

    def __init__(self, start: int, step_ms: int) -> None:
        self._step_ms = step_ms
        self._newest_ms: int | None = None
        self._checkpoints: deque[tuple[int, int | None]] = deque([(start, None)])

    def note(self, offset: int, event_time_ms: int) -> None:
        """A record was delivered."""
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
