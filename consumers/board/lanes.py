"""What the fusion group has committed, lane by lane, and how far behind it is."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.join import offset_map
from pipeline.join.tracker import Position
from pipeline.kafka.contract import Committed, TopicPartition
from pipeline.kafka.offsets import OffsetQueries, Offsets
from pipeline.settings import Settings

MAX_LANES = 24
CELLS = 32
DENSEST = 9


@dataclass(frozen=True, slots=True)
class PartitionView:
    """One source partition.

    Attributes:
        topic: its topic.
        committed: the lowest unfinished offset; None if nothing was ever committed.
        end: the offset after its last record.
        unfinished: records below the map's high mark that are unfinished.
        behind: records without an outcome, those above the high mark included.
        share: of the limit that the map takes, 0 to 1.
        cells: the map from its low to its high mark in `CELLS` digits: 0 all finished, to 9 all unfinished. Empty
            when everything below the high mark is finished.
        problem: why the map cannot be read; empty if it can.
    """

    topic: str
    committed: int | None
    end: int
    unfinished: int
    behind: int
    share: float
    cells: str
    problem: str


@dataclass(frozen=True, slots=True)
class LaneView:
    """The partitions of one number, in the order of the modalities."""

    number: int
    partitions: tuple[PartitionView, ...]
    behind: int


@dataclass(frozen=True, slots=True)
class LanesView:
    """All lanes, or the `MAX_LANES` that are furthest behind.

    Attributes:
        group: whose positions these are.
        behind: records of all lanes that have no outcome yet.
        lag: end minus committed offset, of all partitions, as Kafka's own tools count it.
        count: lanes there are.
        lanes: those shown, by number.
        history: `behind` at the last looks, the oldest first.
    """

    group: str
    behind: int
    lag: int
    count: int
    lanes: tuple[LaneView, ...]
    history: tuple[int, ...] = ()


class LaneQueries:
    """Asks the broker for what the group has committed.

    Args:
        settings: brokers, topics and `kafka.group`.
        limit: characters that a map may have.
    """

    def __init__(self, settings: Settings, limit: int) -> None:
        self._queries = OffsetQueries(settings.kafka, "board-lanes")
        self._topics = settings.topics.sources
        self._group = settings.kafka.group
        self._limit = limit

    def look(self) -> LanesView:
        """Returns the lanes as they are now.

        Raises:
            KafkaFailure: no broker answers, or a topic is missing.
        """
        partitions = self._queries.partitions(self._topics)
        committed = self._queries.committed(self._group, partitions)
        begins = self._queries.begins([where for where in partitions if where not in committed])
        ends = self._queries.ends(partitions, written=True)
        return lanes(self._group, committed, begins, ends, self._limit)


def lanes(
    group: str, committed: Mapping[TopicPartition, Committed], begins: Offsets, ends: Offsets, limit: int
) -> LanesView:
    """Returns what is shown of these positions. Pure.

    Args:
        group: whose they are.
        committed: offset and map of each partition that has them.
        begins: the first offset of those that have none.
        ends: the offset after the last record of every partition, topics in the order of the modalities.
        limit: characters that a map may have.
    """
    by_number: dict[int, list[PartitionView]] = {}
    for where, end in ends.items():
        view = _partition(where, committed.get(where), range(begins.get(where, 0), end), limit)
        by_number.setdefault(where.partition, []).append(view)
    every = [LaneView(n, tuple(views), sum(view.behind for view in views)) for n, views in by_number.items()]
    shown = sorted(every, key=lambda lane: (-lane.behind, lane.number))[:MAX_LANES]
    return LanesView(
        group,
        sum(lane.behind for lane in every),
        sum(end - (committed[w].offset if w in committed else begins.get(w, 0)) for w, end in ends.items()),
        len(every),
        tuple(sorted(shown, key=lambda lane: lane.number)),
    )


def _partition(where: TopicPartition, committed: Committed | None, held: range, limit: int) -> PartitionView:
    end = held.stop
    if committed is None:
        return PartitionView(where.topic, None, end, 0, len(held), 0.0, "", "")
    share = len(committed.metadata) / limit
    try:
        position = offset_map.decode(committed.metadata, where.topic, where.partition, committed.offset)
    except offset_map.UnreadableMap as error:
        behind = max(0, end - committed.offset)
        return PartitionView(where.topic, committed.offset, end, 0, behind, share, "", str(error))
    unfinished = len(position.unfinished)
    behind = max(0, end - position.high) + unfinished
    return PartitionView(where.topic, position.low, end, unfinished, behind, share, _cells(position), "")


def _cells(position: Position) -> str:
    if not position.unfinished:
        return ""
    size = max(1, -(-(position.high - position.low) // CELLS))
    counts = [0] * -(-(position.high - position.low) // size)
    for offset in position.unfinished:
        counts[(offset - position.low) // size] += 1
    return "".join(str(-(-count * DENSEST // size)) for count in counts)
