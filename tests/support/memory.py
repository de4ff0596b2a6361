"""An in-memory broker with groups and transactions, under the same contract as Kafka."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count

from pipeline.events.records import Headers
from pipeline.join.partitioner import partition_of
from pipeline.kafka.contract import (
    Arrivals,
    Committed,
    Delivery,
    EndOfPartition,
    Fresh,
    GroupMetadata,
    Message,
    PartitionListener,
    TopicPartition,
    Transaction,
)
from pipeline.kafka.errors import AbortNeeded


def delivery(messages: Sequence[Message]) -> Delivery:
    """Returns records of one partition as a source delivers them; at least one."""
    topics, partitions, offsets, timestamps_ms, keys, values, headers = zip(*messages, strict=True)
    return Delivery(TopicPartition(topics[0], partitions[0]), offsets, timestamps_ms, keys, values, headers)


class Ending(Enum):
    """How a transaction ends, and what its producer is told."""

    COMMITTED = auto()
    ABORTED = auto()
    UNKNOWN_COMMITTED = auto()
    UNKNOWN_ABORTED = auto()


@dataclass
class MemoryBroker:
    """Topics with equal partition counts, one consumer group, committed records only.

    A rebalance takes what it takes in Kafka: it begins when a member comes or goes, each member gives its partitions up
    and joins again in its next poll, and when the last has, the generation is a new one. Until then the old one counts.

    Attributes:
        endings: of the next transactions; when there is none, they are committed.
        open: transactions whose offsets are sent and that have not ended.
        transactions: how many were committed.
    """

    partitions: int
    logs: dict[TopicPartition, list[Message]] = field(default_factory=dict)
    committed: dict[TopicPartition, Committed] = field(default_factory=dict)
    members: list["MemorySource"] = field(default_factory=list)
    generation: int = 0
    endings: deque[Ending] = field(default_factory=deque)
    open: dict["MemorySink", Transaction] = field(default_factory=dict)
    transactions: int = 0
    closed_sinks: int = 0
    clock_ms: Iterator[int] = field(default_factory=lambda: count(1_000_000))
    is_rebalancing: bool = False

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

    def add(self, member: "MemorySource") -> None:
        """Takes a member into the group."""
        self.members.append(member)
        self._rebalance()

    def remove(self, member: "MemorySource") -> None:
        """A member has left, or its session has ended; while it lives, it notices in its next poll."""
        if member in self.members:
            self.members.remove(member)
            self._rebalance()

    def replace(self, old: "MemorySource", new: "MemorySource") -> None:
        """A static member has come back within its session: it has its partitions again, and the old one is fenced."""
        self.members[self.members.index(old)] = new
        new.generation, new.share, new.must_assign = old.generation, old.share, not self.is_rebalancing

    def joined(self, member: "MemorySource") -> None:
        """A member has given its partitions up and joined again."""
        member.has_joined = True
        self._complete()

    def read_committed(self, where: TopicPartition) -> Committed | Fresh:
        """Returns what is committed; an open transaction that would change it has timed out before one learns it."""
        for sink in [sink for sink, transaction in self.open.items() if where in transaction.offsets]:
            del self.open[sink]
        return self.committed.get(where, Fresh(0))

    def apply(self, transaction: Transaction) -> None:
        """Commits a transaction."""
        for output in transaction.outputs:
            self.publish(output.topic, output.key, output.value, headers=output.headers)
        self.committed |= transaction.offsets
        self.transactions += 1

    def _rebalance(self) -> None:
        if not self.is_rebalancing:
            self.is_rebalancing = True
            for member in self.members:
                member.has_joined = False
        self._complete()

    def _complete(self) -> None:
        if not self.is_rebalancing or not all(member.has_joined for member in self.members):
            return
        self.is_rebalancing = False
        self.generation += 1
        size, extra = divmod(self.partitions, len(self.members) or 1)
        for place, member in enumerate(self.members):
            first = place * size + min(place, extra)
            member.share = range(first, first + size + (place < extra))
            member.generation, member.must_assign = self.generation, True


class MemorySource:
    """A member of the broker's group; with `instead_of`, the next process of a static member's name."""

    def __init__(
        self,
        broker: MemoryBroker,
        topics: Sequence[str],
        listener: PartitionListener,
        instead_of: "MemorySource | None" = None,
    ) -> None:
        self._broker = broker
        self._topics = topics
        self._listener = listener
        self._next: dict[TopicPartition, int] = {}
        self._told_end: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self.generation = 0
        self.share = range(0)
        self.has_joined = False
        self.must_assign = False
        if instead_of is not None and instead_of in broker.members:
            broker.replace(instead_of, self)
        else:
            broker.add(self)

    def poll(self, count: int, timeout_s: float) -> Arrivals:
        """Returns what is there; never waits."""
        self._keep_membership()
        deliveries: list[Delivery] = []
        ends: list[EndOfPartition] = []
        for where in sorted(self._next, key=str):
            if where not in self._paused:
                room = count - sum(len(delivery.offsets) for delivery in deliveries) - len(ends)
                self._deliver(where, room, deliveries, ends)
        return Arrivals(deliveries, ends)

    def group_metadata(self) -> GroupMetadata:
        """Returns the generation that this member last joined, as this member."""
        return GroupMetadata(_Generation(self, self.generation))

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
        mine = [TopicPartition(topic, number) for number in self.share for topic in self._topics]
        starts: Mapping[TopicPartition, Committed | Fresh] = {
            where: self._broker.read_committed(where) for where in mine
        }
        self._next = dict(self._listener.assigned(starts))
        self._told_end.clear()
        self._paused.clear()

    def close(self) -> None:
        """Leaves the group."""
        self._broker.remove(self)

    def _keep_membership(self) -> None:
        if self not in self._broker.members:
            self._listener.lost()
            self._unassign()
            self.has_joined = False
            self._broker.add(self)
        if self._broker.is_rebalancing and not self.has_joined:
            if self.share:
                self._listener.revoked()
            self._unassign()
            self._broker.joined(self)
        if self.must_assign:
            self.must_assign = False
            self.rewind()

    def _unassign(self) -> None:
        self.share = range(0)
        self._next.clear()

    def _deliver(
        self, where: TopicPartition, room: int, deliveries: list[Delivery], ends: list[EndOfPartition]
    ) -> None:
        log = self._broker.logs.get(where, [])
        messages = log[self._next[where] : self._next[where] + room]
        self._next[where] += len(messages)
        if messages:
            deliveries.append(delivery(messages))
        end = len(log)
        if self._next[where] == end and len(messages) < room and self._told_end.get(where) != end:
            self._told_end[where] = end
            ends.append(EndOfPartition(where.topic, where.partition, end))


@dataclass(frozen=True)
class _Generation:
    member: MemorySource
    number: int

    def counts(self, broker: MemoryBroker) -> bool:
        """Whether offsets may be committed under it."""
        return self.member in broker.members and self.number == broker.generation


class MemorySink:
    """Commits in two steps, as Kafka does: the offsets are sent under a generation, then the transaction ends."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def commit(self, transaction: Transaction) -> None:
        """Publishes the outputs and commits the offsets, all or nothing."""
        self.send(transaction)
        self.end()

    def send(self, transaction: Transaction) -> None:
        """Sends everything; from here on only the end is missing."""
        handle = transaction.group.handle
        if not isinstance(handle, _Generation) or not handle.counts(self._broker):
            raise AbortNeeded(f"{handle} is over")
        self._broker.open[self] = transaction

    def end(self) -> None:
        """Ends the transaction as the broker was told to."""
        transaction = self._broker.open.pop(self, None)
        if transaction is None:
            raise AbortNeeded("the transaction has timed out")
        ending = self._broker.endings.popleft() if self._broker.endings else Ending.COMMITTED
        if ending in {Ending.COMMITTED, Ending.UNKNOWN_COMMITTED}:
            self._broker.apply(transaction)
        if ending is not Ending.COMMITTED:
            raise AbortNeeded(f"the broker was told: {ending.name}")

    def close(self) -> None:
        """Gives the transactional id up."""
        self._broker.closed_sinks += 1
