"""The group member that reads the three source topics, from what is committed with its maps."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as ClientTopicPartition

from pipeline.kafka.backlog import backlog
from pipeline.kafka.clients import Properties, common
from pipeline.kafka.contract import (
    Arrivals,
    GroupMetadata,
    PartitionListener,
    TopicPartition,
)
from pipeline.kafka.errors import Fatal, Retriable, translated
from pipeline.kafka.messages import arrivals
from pipeline.kafka.questions import Questions
from pipeline.kafka.silence import Silence
from pipeline.settings import KafkaSettings, TopicSettings
from pipeline.telemetry.logs import logger

MAX_TORN_IN_A_ROW = 10
FEW = 32
GATHER_S = 0.003
"""Few records wait so long for more to come: a step costs as much for one as for a hundred."""
_log = logger(__name__)


class KafkaSource:
    """A static member of the consumer group, under the classic `range` assignor, which keeps lanes whole.

    Rebalances are eager: all partitions are revoked, then all that are ours now are assigned.

    Args:
        kafka: brokers, group and replica.
        topics: the sources.
        listener: is told of rebalances.
        partitions: how many each source topic has; with another number, keys belong elsewhere.
    """

    def __init__(
        self, kafka: KafkaSettings, topics: TopicSettings, listener: PartitionListener, partitions: int
    ) -> None:
        self._settings = kafka
        self._sources = topics.sources
        self._partitions = partitions
        self._listener = listener
        self._properties = _properties(kafka)
        self._is_cut_off = False
        self._torn_in_a_row = 0
        self._delivered: dict[TopicPartition, int] = {}
        self._consumer = self._join()

    def poll(self, count: int, timeout_s: float) -> Arrivals:
        """Returns what has arrived, up to `count` records and ends; rebalances reach the listener from in here.

        What was delivered around a rebalance may be of either assignment, so it is read again.

        Raises:
            AbortNeeded: the client has stopped delivering; `rewind` makes it begin anew.
            Fatal: this process cannot go on.
        """
        try:
            first = self._consumer.poll(timeout_s)
            batch = [] if first is None else [first, *self._consumer.consume(count - 1, 0)]
            if 0 < len(batch) < min(count, FEW):
                batch += self._consumer.consume(count - len(batch), GATHER_S)
        except KafkaException as error:
            raise translated(error, "consuming") from error
        try:
            brought = arrivals(batch)
        except Fatal as error:
            if not self._is_cut_off:
                raise
            self._join_anew(error)
            return Arrivals()
        if self._handed_out is not None:
            self._take(self._handed_out)
            return Arrivals()
        self._delivered |= {TopicPartition(end.topic, end.partition): end.offset for end in brought.ends}
        self._is_cut_off = self._is_cut_off and not brought.deliveries
        self._silence.note(brought)
        self._silence.look(self._questions.end)
        return brought

    def group_metadata(self) -> GroupMetadata:
        """Returns the generation to commit under (KIP-447)."""
        return GroupMetadata(self._consumer.consumer_group_metadata())

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Stops delivery of these partitions."""
        self._consumer.pause(_client_partitions(partitions))
        self._silence.paused(partitions)

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """Takes delivery of these partitions up again."""
        self._consumer.resume(_client_partitions(partitions))
        self._silence.resumed(partitions)

    def backlog(self) -> Mapping[TopicPartition, int]:
        """Returns how many records of each assigned partition are still to be delivered, as of its last fetch."""
        return backlog(self._consumer, self._delivered)

    def rewind(self) -> None:
        """Hands everything that is assigned to the listener again, from what is committed now; nothing stays paused."""
        assigned = self._consumer.assignment()
        self._consumer.resume(assigned)
        self._take(self._handed_out or assigned)

    def close(self) -> None:
        """Leaves the group. A static member's partitions wait for it until its session ends."""
        self._consumer.close()

    def _join(self) -> Consumer:
        """Returns a new client; nothing of what the last one was given, asked or owed is its own."""
        try:
            consumer = Consumer(self._properties)
        except KafkaException as error:
            raise translated(error, "making the consumer") from error
        self._subscribe(consumer)
        self._handed_out: list[ClientTopicPartition] | None = None
        self._questions = Questions(consumer, self._settings, self._cut_off)
        self._silence = Silence()
        return consumer

    def _cut_off(self) -> None:
        self._is_cut_off = True

    def _subscribe(self, consumer: Consumer) -> None:
        consumer.subscribe(
            list(self._sources), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def _join_anew(self, error: Fatal) -> None:
        """Joins with a new client, once: back from an outage, a member can be fenced by its own older requests."""
        _log.warning("kafka consumer replaced", cause=str(error))
        self._is_cut_off = False
        self._consumer.close()
        self._consumer = self._join()

    def _ask_again(self) -> None:
        """Joins again, so that the leader hands out anew: who restarts under its name is given its old share."""
        _log.warning("lanes were handed out by older partition counts: asking again")
        self._torn_in_a_row += 1
        time.sleep(self._settings.heartbeat_ms / 1_000)
        self._subscribe(self._consumer)

    def _on_assign(self, consumer: Consumer, partitions: list[ClientTopicPartition]) -> None:
        """Only takes note: after a call in here that waits, the client's next callback would abort the process."""
        self._handed_out = partitions
        consumer.assign([])

    def _take(self, partitions: list[ClientTopicPartition]) -> None:
        """Hands partitions to the listener; while the brokers do not answer, the next poll tries it again."""
        self._handed_out = partitions
        try:
            self._begin(partitions)
        except Retriable as error:
            _log.warning("lanes not taken yet", problem=str(error))
        else:
            self._handed_out = None

    def _begin(self, partitions: list[ClientTopicPartition]) -> None:
        self._questions.check_partitions(self._sources, self._partitions)
        if self._is_torn(partitions) and self._torn_in_a_row < MAX_TORN_IN_A_ROW:
            self._ask_again()
            return
        self._torn_in_a_row = 0
        starts = self._listener.assigned(self._questions.starts(partitions))
        self._delivered = {where: self._questions.still_there(where, offset) for where, offset in starts.items()}
        taken = [ClientTopicPartition(at.topic, at.partition, offset) for at, offset in self._delivered.items()]
        self._consumer.assign(taken)
        self._silence.begin(self._delivered)

    def _is_torn(self, partitions: list[ClientTopicPartition]) -> bool:
        topics_of = Counter(partition.partition for partition in partitions)
        return any(topics < len(self._sources) for topics in topics_of.values())

    def _on_revoke(self, consumer: Consumer, partitions: list[ClientTopicPartition]) -> None:
        _log.info("lanes revoked", lanes=sorted({partition.partition for partition in partitions}))
        self._listener.revoked()
        self._let_go(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[ClientTopicPartition]) -> None:
        _log.warning("lanes lost", lanes=sorted({partition.partition for partition in partitions}))
        self._cut_off()
        self._listener.lost()
        self._let_go(consumer, partitions)

    def _let_go(self, consumer: Consumer, partitions: list[ClientTopicPartition]) -> None:
        """Gives partitions up. What is paused would be so for the client's next assignment too."""
        self._handed_out = None
        self._silence.begin({})
        consumer.resume(partitions)
        consumer.unassign()


def _client_partitions(partitions: Sequence[TopicPartition]) -> list[ClientTopicPartition]:
    return [ClientTopicPartition(where.topic, where.partition) for where in partitions]


def _properties(kafka: KafkaSettings) -> Properties:
    return {
        **common(kafka, "source", with_log=True),
        "group.id": kafka.group,
        "group.instance.id": kafka.replica,
        "partition.assignment.strategy": "range",
        "session.timeout.ms": kafka.session_timeout_ms,
        "heartbeat.interval.ms": kafka.heartbeat_ms,
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 50,
        "fetch.error.backoff.ms": 100,
        "fetch.queue.backoff.ms": 10,
        "fetch.message.max.bytes": 1 << 17,
        # Of all partitions together, whatever its documentation says: the client counts the queue that they share. With
        # the default of 100,000 that is what most memory went to.
        "queued.min.messages": 1_000,
        "queued.max.messages.kbytes": 32_768,
        **kafka.client_options,
    }
