"""What the programs ask of a broker. Kafka and the tests' in-memory broker keep to it, under one test suite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pipeline.events.records import Headers


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


class Message(NamedTuple):
    """A record as it came from the broker; `timestamp_ms` is the broker's (LogAppendTime) on our topics."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


@dataclass(frozen=True, slots=True)
class EndOfPartition:
    """Everything that a partition holds has been delivered; `offset` is the next one to be written."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """Records of one partition, in their order; at least one. An entry for each in every column.

    `headers` is empty if no record has any.
    """

    where: TopicPartition
    offsets: Sequence[int]
    timestamps_ms: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers] = ()

    def message(self, place: int) -> Message:
        """Returns one of the records."""
        headers = self.headers[place] if self.headers else ()
        offset, timestamp_ms = self.offsets[place], self.timestamps_ms[place]
        return Message(*self.where, offset, timestamp_ms, self.keys[place], self.values[place], headers)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What a poll has brought. `ends` are those of partitions of which nothing came after."""

    deliveries: Sequence[Delivery] = ()
    ends: Sequence[EndOfPartition] = ()

    @property
    def records(self) -> int:
        """How many there are."""
        return sum(len(delivery.offsets) for delivery in self.deliveries)


@dataclass(frozen=True, slots=True)
class Committed:
    """A partition's committed position. `metadata` is the text that was committed with it."""

    offset: int
    metadata: str


@dataclass(frozen=True, slots=True)
class Fresh:
    """Nothing was ever committed for a partition: reading begins at `offset`."""

    offset: int


class Output(NamedTuple):
    """A record to be published. The broker chooses nothing: the key decides the partition (murmur2_random)."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class GroupMetadata:
    """The group generation under which offsets are committed (KIP-447); a zombie's is refused."""

    handle: object


@dataclass(frozen=True, slots=True)
class Transaction:
    """Outputs and the source positions they account for: all of it is committed, or none."""

    outputs: Sequence[Output]
    offsets: Mapping[TopicPartition, Committed]
    group: GroupMetadata


class PartitionListener(Protocol):
    """Told of rebalances, from within `Source.poll` and `Source.close`."""

    def assigned(self, starts: Mapping[TopicPartition, Committed | Fresh]) -> Mapping[TopicPartition, int]:
        """These partitions, and no others, are ours now; returns the offsets to read them from."""

    def revoked(self) -> None:
        """All partitions are about to be handed out anew; what is finished may still be committed."""

    def lost(self) -> None:
        """All partitions have gone to somebody else; nothing may be committed."""


class Source(Protocol):
    """A member of a consumer group."""

    def poll(self, count: int, timeout_s: float) -> Arrivals:
        """Returns what has arrived, up to `count` records and ends, each partition's in its order.

        Waits at most `timeout_s` for the first.
        """

    def group_metadata(self) -> GroupMetadata:
        """Returns the generation to commit under."""

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Stops delivery of these partitions."""

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """Takes delivery of these partitions up again."""

    def backlog(self) -> Mapping[TopicPartition, int]:
        """Returns how many records of each assigned partition are still to be delivered, as of its last fetch."""

    def rewind(self) -> None:
        """Hands everything that is assigned to the listener again, from what is committed now."""

    def close(self) -> None:
        """Leaves the group in good order."""


class Sink(Protocol):
    """A transactional publisher."""

    def commit(self, transaction: Transaction) -> None:
        """Publishes the outputs and commits the offsets, all or nothing.

        Raises:
            AbortNeeded: nothing of it was committed; the caller drops it and rewinds.
            Fatal: this process cannot go on.
        """

    def close(self) -> None:
        """Gives the transactional id up."""
