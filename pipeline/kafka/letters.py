"""The topic of dead letters, read from outside any group."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from pipeline.events.errors import Undecodable
from pipeline.events.records import DeadLetter, Reason, SourceOffset
from pipeline.join.partitioner import partition_of
from pipeline.kafka.contract import Message, TopicPartition
from pipeline.kafka.offsets import OffsetQueries
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.registry import codec
from pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Placed:
    """A dead letter and the message it came in."""

    message: Message
    letter: DeadLetter

    @property
    def place(self) -> SourceOffset:
        """Where the letter stands."""
        return SourceOffset(self.message.topic, self.message.partition, self.message.offset)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters are asked for. What is empty or None asks for nothing.

    Attributes:
        reasons: any of these.
        key: the original's key.
        topic: a topic that one of the letter's sources is in.
        since_ms: those that the broker took from then on, in milliseconds since the epoch.
    """

    reasons: frozenset[Reason] = frozenset()
    key: bytes | None = None
    topic: str | None = None
    since_ms: int | None = None

    def matches(self, letter: DeadLetter) -> bool:
        """Returns whether a letter is asked for; `since_ms` is for the reader."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and self.key in {None, letter.key}
            and (self.topic is None or any(source.topic == self.topic for source in letter.sources))
        )


class DeadLetters:
    """Reads dead letters as they stand at the time of the call. Joins no group and commits nothing.

    Args:
        settings: brokers and topics.
        role: what they are read for, for the brokers' logs.
    """

    def __init__(self, settings: Settings, role: str) -> None:
        self._kafka = settings.kafka
        self._topic = settings.topics.dead_letters
        self._role = role
        self._codec = codec(settings.kafka, settings.topics)
        self._queries = OffsetQueries(settings.kafka, role)

    def matching(
        self, wanted: Wanted, on_unreadable: Callable[[Message, Undecodable], None] = lambda _message, _error: None
    ) -> Iterator[Placed]:
        """Yields the letters that are wanted, each partition's in its order.

        Args:
            wanted: which.
            on_unreadable: is told of records of the topic that are no dead letters.

        Raises:
            KafkaFailure: no broker answers, or the topic is missing.
        """
        places = self._queries.partitions([self._topic])
        if wanted.key:
            number = partition_of(wanted.key, len(places))
            places = tuple(where for where in places if where.partition == number)
        ends = self._queries.ends(places)
        begins = self._queries.begins(places)
        if wanted.since_ms is not None:
            begins = self._queries.since(places, wanted.since_ms)
        for message in self._read({where: range(begins[where], ends[where]) for where in places}):
            try:
                letter = self._codec.decode_dead_letter(message.value or b"")
            except Undecodable as error:
                on_unreadable(message, error)
                continue
            if wanted.matches(letter):
                yield Placed(message, letter)

    def at(self, places: Collection[SourceOffset]) -> Iterator[Placed]:
        """Yields the letters at these places of the topic, each partition's in its order; some may not be there.

        Raises:
            Undecodable: what stands at one of them is no dead letter.
            KafkaFailure: no broker answers, or the topic is missing.
        """
        partitions = self._queries.partitions([self._topic])
        begins, ends = self._queries.begins(partitions), self._queries.ends(partitions)
        offsets: dict[TopicPartition, set[int]] = defaultdict(set)
        for place in places:
            where = TopicPartition(place.topic, place.partition)
            if begins.get(where, 0) <= place.offset < ends.get(where, 0):
                offsets[where].add(place.offset)
        for message in self._read({where: range(min(some), max(some) + 1) for where, some in offsets.items()}):
            if message.offset in offsets[TopicPartition(message.topic, message.partition)]:
                try:
                    yield Placed(message, self._codec.decode_dead_letter(message.value or b""))
                except Undecodable as error:
                    raise Undecodable(f"{message} is no dead letter. {error}") from error

    def _read(self, ranges: dict[TopicPartition, range]) -> Iterator[Message]:
        with TopicReader(self._kafka, self._role) as reader:
            for batch in reader.read(ranges):
                yield from batch
