"""The audit of a real broker: reads all that `pipeline.join.audit` needs, in an order that suits a live pipeline.

1. **The committed positions.** They are old from here on, which only makes finished records look open.
2. **The output topics' high watermarks.** A transaction's outputs are written and acknowledged before it is
   committed, and its offsets count only once it is committed. So the outputs of all records that the positions call
   finished lie below these marks, and are read although their own transaction markers may come later than those of
   the offsets: reading committed records up to a high watermark waits for them. Nothing is called lost falsely.
3. **The source topics' ends.** A record that an output names was read before the output was written, so it lies
   below them. Nothing is called unknown falsely.
4. All of it is read, in any order.
5. **The source topics' beginnings**, once more: retention may have deleted records meanwhile that outputs name.

A record that is in two committed outputs is doubled whenever one looks.

Retention may delete an output before its sources, since it works on whole segments. Where an output partition has
been cut, only source records with a later timestamp than its first kept output prove anything; by then, none of
their outputs had been deleted. This rests on LogAppendTime and on brokers whose clocks agree.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.events.codec import Codec
from pipeline.events.errors import Undecodable
from pipeline.events.records import Reason
from pipeline.join import offset_map
from pipeline.join.audit import Audit, Progress, Verdict
from pipeline.join.tracker import Position
from pipeline.kafka.contract import Message, TopicPartition
from pipeline.kafka.errors import Fatal
from pipeline.kafka.offsets import OffsetQueries, Offsets
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.registry import codec
from pipeline.settings import Settings, TopicSettings

ROLE = "audit"
LISTED = 20

Ranges = dict[TopicPartition, range]


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit found.

    Attributes:
        verdict: what became of the source records.
        group: the group whose positions tell open records from lost ones.
        has_committed: whether it has committed anything; otherwise nothing counts as finished.
        predictions: predictions that were read, amendments included.
        dead_letters: dead letters by reason, the indexer's included.
        unreadable: output records that do not decode, as topic[partition]@offset; nobody knows what they account for.
    """

    verdict: Verdict
    group: str
    has_committed: bool
    predictions: int
    dead_letters: Mapping[Reason, int]
    unreadable: Sequence[str]

    @property
    def balances(self) -> bool:
        """Whether every source record that is not open is in exactly one output record."""
        return self.verdict.balances and not self.unreadable

    @property
    def is_settled(self) -> bool:
        """Whether nothing is open."""
        return self.verdict.total.open == 0


def run_audit(
    settings: Settings,
    *,
    since_ms: int | None = None,
    limit: int = LISTED,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> AuditReport:
    """Reads the source topics and all output topics up to their ends and accounts for every source record.

    Args:
        settings: brokers, topics, and `kafka.group`, whose committed positions are used.
        since_ms: looks only at source records that the broker took from then on, in milliseconds since the epoch.
        limit: most records listed of each kind.
        on_progress: is told how many offsets have been passed, and of how many.

    Raises:
        KafkaFailure: no broker answers, a topic is missing, or an open transaction does not end.
        UnreadableMap: what the group has committed is not an offset map of ours.
    """
    queries = OffsetQueries(settings.kafka, ROLE)
    places = _Places(queries, settings.topics)
    committed = queries.committed(settings.kafka.group, places.sources)
    positions = {
        where: offset_map.decode(entry.metadata, where.topic, where.partition, entry.offset)
        for where, entry in committed.items()
    }
    outputs = places.ranges(places.outputs, since_ms, written=True)
    sources = places.ranges(places.sources, since_ms)
    _check_ends(positions, sources)
    books = _Books(codec(settings.kafka, settings.topics), settings.topics, sources)
    with TopicReader(settings.kafka, ROLE) as reader:
        passed = _Passed(sources | outputs)
        for batch in reader.read(sources | outputs):
            for message in batch:
                books.enter(message)
            on_progress(passed.by(batch), passed.total)
    kept_from = queries.begins(places.sources)
    proven_from = places.proven_from(outputs, books.first_kept_ms)
    progress = {
        (where.topic, where.partition): Progress(
            positions.get(where), max(kept_from[where], sources[where].start), proven_from.get(where, 0)
        )
        for where in places.sources
    }
    return AuditReport(
        books.audit.verdict(progress, limit),
        settings.kafka.group,
        bool(committed),
        books.predictions,
        dict(books.dead_letters.most_common()),
        tuple(books.unreadable),
    )


class _Places:
    """The partitions, and where to read them."""

    def __init__(self, queries: OffsetQueries, topics: TopicSettings) -> None:
        self._queries = queries
        everything = queries.partitions([*topics.sources, topics.predictions, topics.dead_letters])
        self.sources = [where for where in everything if where.topic in topics.sources]
        self.outputs = [where for where in everything if where.topic not in topics.sources]

    def ranges(self, partitions: Sequence[TopicPartition], since_ms: int | None, *, written: bool = False) -> Ranges:
        ends = self._queries.ends(partitions, written=written)
        begins = self._queries.begins(partitions)
        if since_ms is not None:
            begins = self._queries.since(partitions, since_ms)
        return {where: range(begins[where], max(begins[where], ends[where])) for where in partitions}

    def proven_from(self, outputs: Ranges, first_kept_ms: Mapping[TopicPartition, int]) -> Offsets:
        """Returns the source offsets from which on retention cannot have deleted an output; none if it never has."""
        begins = self._queries.begins(self.outputs)
        cut = [where for where, first in begins.items() if first > 0 and first >= outputs[where].start]
        if not cut:
            return {}
        if any(where not in first_kept_ms for where in cut):
            return self._queries.ends(self.sources, written=True)
        return self._queries.since(self.sources, max(first_kept_ms[where] for where in cut) + 1)


class _Passed:
    """How many of the offsets to be read have been passed."""

    def __init__(self, ranges: Ranges) -> None:
        self.total = sum(map(len, ranges.values()))
        self._at = {(where.topic, where.partition): offsets.start for where, offsets in ranges.items()}
        self._begin = sum(self._at.values())

    def by(self, batch: Sequence[Message]) -> int:
        for message in batch:
            self._at[message.topic, message.partition] = message.offset + 1
        return sum(self._at.values()) - self._begin


class _Books:
    """Enters each record where it belongs."""

    def __init__(self, codec: Codec, topics: TopicSettings, sources: Ranges) -> None:
        self._codec = codec
        self._sources, self._predictions = frozenset(topics.sources), topics.predictions
        offsets = {(where.topic, where.partition): offsets for where, offsets in sources.items()}
        self.audit = Audit(offsets, outside=[topics.predictions])
        self.predictions = 0
        self.dead_letters: Counter[Reason] = Counter()
        self.unreadable: list[str] = []
        self.first_kept_ms: dict[TopicPartition, int] = {}

    def enter(self, message: Message) -> None:
        if message.topic in self._sources:
            self.audit.saw(message.topic, message.partition, message.offset)
            return
        self.first_kept_ms.setdefault(TopicPartition(message.topic, message.partition), message.timestamp_ms)
        try:
            if message.topic == self._predictions:
                self.audit.predicted(self._codec.decode_prediction(message.value or b""))
                self.predictions += 1
            else:
                letter = self._codec.decode_dead_letter(message.value or b"")
                self.audit.dead_lettered(letter)
                self.dead_letters[letter.reason] += 1
        except Undecodable:
            self.unreadable.append(str(message))


def _check_ends(positions: Mapping[TopicPartition, Position], sources: Ranges) -> None:
    for where, position in positions.items():
        if position.high > sources[where].stop:
            raise Fatal(
                f"{where} ends at {sources[where].stop}, and its group has finished with records up to "
                f"{position.high}: was the topic made anew? `trimodal offsets reset` starts the group over."
            )
