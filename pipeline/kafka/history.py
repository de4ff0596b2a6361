"""Everything that the topics hold about one key.

A key's records are in one partition of each topic, so only those are read. What is read when follows the audit
(`pipeline.kafka.auditing`): the committed positions first, then the outputs' ends, then the sources' ends.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from pipeline.events.codec import Codec
from pipeline.events.errors import Undecodable
from pipeline.events.records import DeadLetter, Headers, Modality, Prediction, SourceOffset
from pipeline.join import offset_map
from pipeline.join.audit import Place
from pipeline.join.fate import Fate, Known, fates
from pipeline.join.partitioner import partition_of
from pipeline.join.tracker import Position
from pipeline.kafka.contract import Message, TopicPartition
from pipeline.kafka.offsets import OffsetQueries
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.registry import codec
from pipeline.settings import Settings

ROLE = "explain"


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A source record of the key.

    Attributes:
        place: where it stands.
        modality: of its topic.
        taken_ms: the broker's time of it.
        headers: as they came.
        value_bytes: size of its value; None if it has none.
        event_time_ms: in milliseconds since the epoch; None if it does not decode.
        problem: why it does not decode, else empty.
    """

    place: SourceOffset
    modality: Modality
    taken_ms: int
    headers: Headers
    value_bytes: int | None
    event_time_ms: int | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class FoundPrediction:
    """A prediction for the key; `taken_ms` is the broker's time of it."""

    place: SourceOffset
    taken_ms: int
    prediction: Prediction


@dataclass(frozen=True, slots=True)
class FoundLetter:
    """A dead letter of the key, without its value; `taken_ms` is the broker's time of it."""

    place: SourceOffset
    taken_ms: int
    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class History:
    """What the topics hold about a key, each kind in the order of the broker's times.

    Attributes:
        key: the join key.
        partition: where it belongs in the source topics.
        partitions: how many each of those has.
        records: its source records.
        predictions: predictions for it, all revisions.
        letters: dead letters with it.
        fates: what became of each source record.
        gone: records that outputs name and that are no longer there.
        problems: sentences about what could not be read.
    """

    key: bytes
    partition: int
    partitions: int
    records: tuple[SourceRecord, ...]
    predictions: tuple[FoundPrediction, ...]
    letters: tuple[FoundLetter, ...]
    fates: Mapping[SourceOffset, tuple[Fate, ...]]
    gone: tuple[SourceOffset, ...] = ()
    problems: tuple[str, ...] = ()


def history(settings: Settings, key: bytes, *, since_ms: int | None = None, everywhere: bool = False) -> History:
    """Reads what the topics hold about a key.

    Args:
        settings: brokers, topics, and `kafka.group`, whose committed positions are used.
        key: the join key.
        since_ms: leaves out what the broker took before, in milliseconds since the epoch. A record that an output
            names is looked up wherever it is.
        everywhere: reads all partitions: a record of the key may be in a wrong one, without a dead letter yet.

    Raises:
        KafkaFailure: no broker answers, a topic is missing, or an open transaction does not end.
    """
    queries, topics = OffsetQueries(settings.kafka, ROLE), settings.topics
    every = queries.partitions([*topics.sources, topics.predictions, topics.dead_letters])
    counts = Counter(where.topic for where in every)
    wanted = [where for where in every if everywhere or where.partition == partition_of(key, counts[where.topic])]
    sources = [where for where in wanted if where.topic in topics.sources]
    outputs = [where for where in wanted if where.topic not in topics.sources]
    found = _Found(settings, key, codec(settings.kafka, topics))
    positions = found.positions(queries, sources)
    ends = queries.ends(outputs, written=True)
    ends |= queries.ends(sources)
    begins = queries.begins(wanted) if since_ms is None else queries.since(wanted, since_ms)
    found.read({where: range(begins[where], max(begins[where], ends[where])) for where in wanted})
    found.look_up(queries, every)
    return found.history(positions, counts[topics.sources[0]])


@dataclass(slots=True)
class _Found:
    """Takes in records, keeps those of the key, and none of their values."""

    settings: Settings
    key: bytes
    codec: Codec
    records: dict[SourceOffset, SourceRecord] = field(default_factory=dict)
    predictions: list[FoundPrediction] = field(default_factory=list)
    letters: list[FoundLetter] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def positions(self, queries: OffsetQueries, sources: Sequence[TopicPartition]) -> dict[Place, Position]:
        positions = {}
        for where, entry in queries.committed(self.settings.kafka.group, sources).items():
            try:
                position = offset_map.decode(entry.metadata, where.topic, where.partition, entry.offset)
            except offset_map.UnreadableMap as error:
                self.problems.append(str(error))
            else:
                positions[where.topic, where.partition] = position
        return positions

    def read(self, ranges: Mapping[TopicPartition, range]) -> None:
        with TopicReader(self.settings.kafka, ROLE) as reader:
            for message in chain.from_iterable(reader.read(ranges)):
                if message.key == self.key:
                    self._enter(message)

    def _enter(self, message: Message) -> None:
        place, value = SourceOffset(message.topic, message.partition, message.offset), message.value or b""
        topics = self.settings.topics
        try:
            if message.topic in topics.sources:
                self.records[place] = self._record(message, place)
            elif message.topic == topics.predictions:
                prediction = self.codec.decode_prediction(value)
                self.predictions.append(FoundPrediction(place, message.timestamp_ms, prediction))
            else:
                letter = replace(self.codec.decode_dead_letter(value), value=None)
                self.letters.append(FoundLetter(place, message.timestamp_ms, letter))
        except Undecodable as error:
            self.problems.append(f"{place}: {error}")

    def _record(self, message: Message, place: SourceOffset) -> SourceRecord:
        modality = Modality(self.settings.topics.sources.index(message.topic))
        event_time_ms, problem = None, ""
        try:
            event_time_ms = self.codec.decode_event(modality, message.value or b"").event_time_ms
        except Undecodable as error:
            problem = str(error)
        size = None if message.value is None else len(message.value)
        return SourceRecord(place, modality, message.timestamp_ms, message.headers, size, event_time_ms, problem)

    def look_up(self, queries: OffsetQueries, partitions: Sequence[TopicPartition]) -> None:
        """Reads the records that outputs name and that have not been read, such as misrouted ones."""
        begins, ends = queries.begins(partitions), queries.ends(partitions)
        waiting: dict[TopicPartition, list[int]] = defaultdict(list)
        for source in self._named() - self.records.keys():
            where = TopicPartition(source.topic, source.partition)
            if begins.get(where, 0) <= source.offset < ends.get(where, 0):
                waiting[where].append(source.offset)
        while waiting:
            self.read({where: range(offsets[-1], offsets[-1] + 1) for where, offsets in waiting.items()})
            waiting = {where: offsets[:-1] for where, offsets in waiting.items() if len(offsets) > 1}

    def history(self, positions: Mapping[Place, Position], partitions: int) -> History:
        known = [Known(record.place, record.modality, record.event_time_ms) for record in self.records.values()]
        became = fates(
            known,
            (found.prediction for found in self.predictions),
            ((found.place, found.letter) for found in self.letters),
            positions,
            self.settings.join.window_ms,
        )
        return History(
            self.key,
            partition_of(self.key, partitions),
            partitions,
            tuple(sorted(self.records.values(), key=lambda record: (record.taken_ms, str(record.place)))),
            tuple(sorted(self.predictions, key=lambda found: (found.taken_ms, found.prediction.revision))),
            tuple(sorted(self.letters, key=lambda found: (found.taken_ms, str(found.place)))),
            became,
            tuple(sorted(self._named() - self.records.keys(), key=str)),
            tuple(self.problems),
        )

    def _named(self) -> set[SourceOffset]:
        outputs: Iterable[Prediction | DeadLetter] = chain(
            (found.prediction for found in self.predictions), (found.letter for found in self.letters)
        )
        topics = self.settings.topics.sources
        return {source for output in outputs for source in output.sources if source.topic in topics}
