"""The proof that the ledger balances: every source record is in exactly one output record.

Three things go in, in any order: the offsets at which the source topics hold records, the `sources` that predictions
name, and those that dead letters name. `Audit.verdict` then sorts every source record by what became of it.

A few bytes are kept for each offset, no objects, since topics hold millions.
"""

import zlib
from array import array
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from pipeline.events.records import DeadLetter, Prediction, SourceOffset
from pipeline.join.tracker import Position

Place = tuple[str, int]
"""Topic and partition."""
Offsets = npt.NDArray[np.int64]

_SEEN, _PREDICTED, _DEAD, _SHARED, _REPEATED = 1, 2, 4, 8, 16
_NAMED = _PREDICTED | _DEAD
_DOUBLED = _SHARED | _REPEATED
_LAST_REVISION = 255


@dataclass(frozen=True, slots=True)
class Account:
    """What became of a topic's records. `records` is the sum of the six figures after it.

    Attributes:
        records: offsets at which the topic holds a record.
        predicted: in one prediction, its amendments included.
        dead_lettered: in one dead letter.
        open: in none, and the group has not finished with it.
        lost: in none, though the group has finished with it.
        doubled: in more than one output record.
        unproven: in none, the group has finished with it, and its output may have been deleted by retention.
        unknown: named by an output record, and there is no such source record.
        expired: named by an output record, and below the offsets that were looked at.
    """

    records: int = 0
    predicted: int = 0
    dead_lettered: int = 0
    open: int = 0
    lost: int = 0
    doubled: int = 0
    unproven: int = 0
    unknown: int = 0
    expired: int = 0

    def __add__(self, other: "Account") -> "Account":
        return Account(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Listed:
    """The first of the records that need a look, in the order of their topics, partitions and offsets."""

    lost: tuple[SourceOffset, ...] = ()
    doubled: tuple[SourceOffset, ...] = ()
    unknown: tuple[SourceOffset, ...] = ()
    open: tuple[SourceOffset, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of all source records."""

    topics: Mapping[str, Account]
    listed: Listed

    @property
    def total(self) -> Account:
        """The accounts of all topics, added up."""
        return sum(self.topics.values(), Account())

    @property
    def balances(self) -> bool:
        """Whether nothing is lost, doubled or made up. What is open may still become either."""
        total = self.total
        return total.lost == total.doubled == total.unknown == 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a source partition has got.

    Attributes:
        position: what the group has committed for it; None if nothing, so that it has finished with no record.
        kept_from: the first offset that the broker still held when everything had been read.
        proven_from: from this offset on, the output of a record cannot have been deleted by retention.
    """

    position: Position | None = None
    kept_from: int = 0
    proven_from: int = 0


class Audit:
    """Takes in source records and the output records that account for them.

    Pure. Nothing depends on the order in which records come in.

    Args:
        sources: the offsets to look at, of every partition of the source topics.
        outside: topics that output records may name and whose records are not accounted for here: dead letters of
            the indexer name predictions.
    """

    def __init__(self, sources: Mapping[Place, range], outside: Collection[str] = ()) -> None:
        self._partitions = {place: _Partition(offsets) for place, offsets in sources.items()}
        self._outside = frozenset(outside)
        self._elsewhere: Counter[SourceOffset] = Counter()

    def saw(self, topic: str, partition: int, offset: int) -> None:
        """A source topic holds a record there; offsets that are not to be looked at are passed over."""
        self._partitions[topic, partition].saw(offset)

    def predicted(self, prediction: Prediction) -> None:
        """A prediction accounts for its sources.

        An amendment (a later revision) keeps the prediction's id and names what it used before once more. Each
        record counts in the lowest revision of an id that names it; the other revisions repeat it by right. Ids are
        told apart by 32 bits, so of 4 billion records that two revisions of different ids share, one is missed.
        """
        owner = zlib.crc32(prediction.prediction_id.encode())
        revision = min(max(prediction.revision, 0), _LAST_REVISION)
        for source in prediction.sources:
            if (partition := self._partition(source)) is not None:
                partition.predicted(source.offset, owner, revision)

    def dead_lettered(self, letter: DeadLetter) -> None:
        """A dead letter accounts for its sources."""
        for source in letter.sources:
            if (partition := self._partition(source)) is not None:
                partition.dead_lettered(source.offset)

    def verdict(self, progress: Mapping[Place, Progress], limit: int = 20) -> Verdict:
        """Says what became of every record that was seen.

        Args:
            progress: how far each source partition has got; without one, its group has committed nothing.
            limit: most records listed of each kind.
        """
        topics: dict[str, Account] = {}
        listed: dict[str, list[SourceOffset]] = {"lost": [], "doubled": [], "unknown": [], "open": []}
        for (topic, number), partition in sorted(self._partitions.items()):
            account, found = partition.settle(progress.get((topic, number), Progress()))
            topics[topic] = topics.get(topic, Account()) + account
            for kind, offsets in found.items():
                room = max(0, limit - len(listed[kind]))
                listed[kind] += [SourceOffset(topic, number, offset) for offset in offsets[:room].tolist()]
        for source, times in self._elsewhere.items():
            topics[source.topic] = topics.get(source.topic, Account()) + Account(unknown=times)
        elsewhere = sorted(self._elsewhere, key=lambda source: (source.topic, source.partition, source.offset))
        listed["unknown"] = (listed["unknown"] + elsewhere)[:limit]
        return Verdict(topics, Listed(**{kind: tuple(records) for kind, records in listed.items()}))

    def _partition(self, source: SourceOffset) -> "_Partition | None":
        partition = self._partitions.get((source.topic, source.partition))
        if partition is None and source.topic not in self._outside:
            self._elsewhere[source] += 1
        return partition


class _Partition:
    """Six bytes an offset: marks, and the prediction and lowest revision that named it first."""

    __slots__ = ("_begin", "_expired", "_marks", "_owners", "_revisions", "_unknown")

    def __init__(self, offsets: range) -> None:
        self._begin = offsets.start
        self._marks = bytearray(len(offsets))
        self._revisions = bytearray(len(offsets))
        self._owners = array("I", [0]) * len(offsets)
        self._unknown: Counter[int] = Counter()
        self._expired = 0

    def saw(self, offset: int) -> None:
        if 0 <= (at := offset - self._begin) < len(self._marks):
            self._marks[at] |= _SEEN

    def predicted(self, offset: int, owner: int, revision: int) -> None:
        if (at := self._index(offset)) is None:
            return
        marks = self._marks[at]
        if not marks & _NAMED:
            self._owners[at], self._revisions[at] = owner, revision
        elif marks & _DEAD or self._owners[at] != owner:
            marks |= _SHARED
        elif revision == self._revisions[at]:
            marks |= _REPEATED
        elif revision < self._revisions[at]:
            self._revisions[at] = revision
            marks &= ~_REPEATED
        self._marks[at] = marks | _PREDICTED

    def dead_lettered(self, offset: int) -> None:
        if (at := self._index(offset)) is not None:
            self._marks[at] |= _DEAD | (_SHARED if self._marks[at] & _NAMED else 0)

    def settle(self, progress: Progress) -> tuple[Account, dict[str, Offsets]]:
        marks = np.frombuffer(self._marks, np.uint8)
        seen, named = (marks & _SEEN) != 0, (marks & _NAMED) != 0
        doubled = seen & ((marks & _DOUBLED) != 0)
        single = seen & ~doubled
        missing = self._offsets(seen & ~named)
        finished = _finished(missing, progress.position)
        proven = missing >= progress.proven_from
        lost, still_open = missing[finished & proven], missing[~finished]
        phantoms = self._offsets(named & ~seen)
        inside, gone = phantoms[phantoms >= progress.kept_from], phantoms[phantoms < progress.kept_from]
        account = Account(
            records=int(seen.sum()),
            predicted=int((single & ((marks & _PREDICTED) != 0)).sum()),
            dead_lettered=int((single & ((marks & _DEAD) != 0)).sum()),
            open=len(still_open),
            lost=len(lost),
            doubled=int(doubled.sum()),
            unproven=int((finished & ~proven).sum()),
            unknown=len(inside) + self._unknown.total(),
            expired=len(gone) + self._expired,
        )
        beyond = np.array(sorted(self._unknown), np.int64)
        unknown = np.concatenate((inside, beyond))
        return account, {
            "lost": lost,
            "doubled": self._offsets(doubled),
            "unknown": unknown,
            "open": still_open,
        }

    def _index(self, offset: int) -> int | None:
        """Returns where an offset is kept; one that is not looked at is counted."""
        at = offset - self._begin
        if 0 <= at < len(self._marks):
            return at
        if at < 0:
            self._expired += 1
        else:
            self._unknown[offset] += 1
        return None

    def _offsets(self, chosen: npt.NDArray[np.bool_]) -> Offsets:
        return np.flatnonzero(chosen) + self._begin


def _finished(offsets: Offsets, position: Position | None) -> npt.NDArray[np.bool_]:
    """Returns which of the offsets a position calls finished."""
    if position is None:
        return np.zeros(len(offsets), np.bool_)
    unfinished = np.asarray(position.unfinished, np.int64)
    finished: npt.NDArray[np.bool_] = (offsets < position.high) & ~np.isin(offsets, unfinished)
    return finished
