"""An in-memory broker with groups and transactions, under the same contract as Kafka."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from pipeline.join.partitioner import partition_of
from pipeline.kafka.contract import (
    Arrival,
    Committed,
    Delivery,
    EndOfPartition,
    Fresh,
    GroupMetadata,
    Headers,
    Message,
    PartitionListener,
    TopicPartition,
    Transaction,
)
from pipeline.kafka.errors import AbortNeeded


@dataclass
class MemoryBroker:
    """Topics with equal partition counts, one consumer group, committed records only."""

    partitions: int
    logs: dict[TopicPartition, list[Message]] = field(default_factory=dict)
    committed: dict[TopicPartition, Committed] = field(default_factory=dict)
    members: list["MemorySource"] = field(default_factory=list)
    generation: int = 0
    refused_commits: int = 0
    closed_sinks: int = 0
    clock_ms: Iterator[int] = field(default_factory=lambda: count(1_000_000))

    def publish(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None = None,
        headers: Headers = (),
    ) -> Message:
        """Appends a record, as a producer with the murmur2 partitioner does."""
        number = partition_of(key or b"", self.partitions) if partition is None else partition
        log = self.logs.setdefault(TopicPartition(topic, number), [])
        message = Message(topic, number, len(log), next(self.clock_ms), key, value, headers)
        log.append(message)
        return message

    def records(self, topic: str) -> list[Message]:
        """Returns what a read_committed reader sees."""
        numbers = range(self.partitions)
        return [message for n in numbers for message in self.logs.get(TopicPartition(topic, n), [])]

    def rebalance(self) -> None:
        """Hands the partition numbers out anew, whole lanes to each member; members notice in their next poll."""
        self.generation += 1
        for member in self.members:
            member.must_rejoin = True

    def share(self, member: "MemorySource") -> list[int]:
        """Returns the partition numbers that are a member's, as the range assignor hands them out."""
        place, members = self.members.index(member), len(self.members)
        size, extra = divmod(self.partitions, members)
        first = place * size + min(place, extra)
        return list(range(first, first + size + (place < extra)))


class MemorySource:
    """A member of the broker's group."""

    def __init__(self, broker: MemoryBroker, topics: Sequence[str], listener: PartitionListener) -> None:
        self._broker = broker
        self._topics = topics
        self._listener = listener
        self._next: dict[TopicPartition, int] = {}
        self._told_end: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self.must_rejoin = True
        broker.members.append(self)
        broker.rebalance()

    def poll(self, count: int, timeout_s: float) -> Sequence[Arrival]:
        """Returns what is there; never waits."""
        if self.must_rejoin:
            if self._next:
                self._listener.revoked()
            self.must_rejoin = False
            self._generation = self._broker.generation
            self.rewind()
        arrivals: list[Arrival] = []
        room = count
        for where in sorted(self._next, key=str):
            if where not in self._paused:
                room -= self._deliver(where, room, arrivals)
        return arrivals

    def group_metadata(self) -> GroupMetadata:
        """Returns the generation that this member last joined."""
        return GroupMetadata(self._generation)

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Stops delivery."""
        self._paused |= set(partitions)

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """Takes delivery up again; a partition at its end says so again."""
        self._paused -= set(partitions)
        for where in partitions:
            self._told_end.pop(where, None)

    def backlog(self) -> Mapping[TopicPartition, int]:
        """Returns how many records are still to be delivered."""
        return {where: len(self._broker.logs.get(where, [])) - place for where, place in self._next.items()}

    def rewind(self) -> None:
        """Reads again from what is committed."""
        mine = [TopicPartition(topic, n) for n in self._broker.share(self) for topic in self._topics]
        starts: Mapping[TopicPartition, Committed | Fresh] = {
            where: self._broker.committed.get(where, Fresh(0)) for where in mine
        }
        self._next = dict(self._listener.assigned(starts))
        self._told_end.clear()
        self._paused.clear()

    def close(self) -> None:
        """Leaves the group."""
        if self in self._broker.members:
            self._broker.members.remove(self)
            self._broker.rebalance()

    def _deliver(self, where: TopicPartition, room: int, arrivals: list[Arrival]) -> int:
        """Adds what is there of a partition; returns how much room it has taken."""
        log = self._broker.logs.get(where, [])
        messages = log[self._next[where] : self._next[where] + room]
        self._next[where] += len(messages)
        if messages:
            arrivals.append(Delivery(where.topic, where.partition, messages))
        end = len(log)
        tells_end = self._next[where] == end and len(messages) < room and self._told_end.get(where) != end
        if tells_end:
            self._told_end[where] = end
            arrivals.append(EndOfPartition(where.topic, where.partition, end))
        return len(messages) + tells_end


class MemorySink:
    """Commits atomically, unless the generation is old or the broker was told to refuse."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def commit(self, transaction: Transaction) -> None:
        """Publishes the outputs and commits the offsets, all or nothing."""
        if transaction.group.handle != self._broker.generation:
            raise AbortNeeded(f"generation {transaction.group.handle} is not {self._broker.generation}")
        if self._broker.refused_commits:
            self._broker.refused_commits -= 1
            raise AbortNeeded("the broker was told to refuse")
        for output in transaction.outputs:
            self._broker.publish(output.topic, output.key, output.value, headers=output.headers)
        self._broker.committed |= transaction.offsets

    def close(self) -> None:
        """Gives the transactional id up."""
        self._broker.closed_sinks += 1
