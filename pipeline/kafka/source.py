"""The group member that reads the three source topics, from what is committed with its maps."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientTopicPartition

from pipeline.kafka.backlog import backlog
from pipeline.kafka.clients import Properties, common
from pipeline.kafka.contract import (
    Arrivals,
    Committed,
    Fresh,
    GroupMetadata,
    PartitionListener,
    TopicPartition,
)
from pipeline.kafka.errors import UNKNOWN_FOR_NOW, Fatal, Retriable, translated
from pipeline.kafka.messages import arrivals
from pipeline.kafka.silence import Silence
from pipeline.settings import KafkaSettings, TopicSettings
from pipeline.telemetry.logs import logger

ASK_AGAIN_S = 0.1
MAX_TORN_IN_A_ROW = 10
Answer = TypeVar("Answer")
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
        self._call_timeout_s = kafka.call_timeout_ms / 1_000
        self._properties = _properties(kafka, topics)
        self._handed_out: list[ClientTopicPartition] | None = None
        self._is_cut_off = False
        self._torn_in_a_row = 0
        self._starts: Mapping[TopicPartition, int] = {}
        self._silence = Silence()
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
        self._is_cut_off = self._is_cut_off and not brought.deliveries
        self._silence.note(brought)
        self._silence.look(self._end)
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
        return backlog(self._consumer, self._starts)

    def rewind(self) -> None:
        """Hands everything that is assigned to the listener again, from what is committed now; nothing stays paused."""
        assigned = self._consumer.assignment()
        self._consumer.resume(assigned)
        self._take(self._handed_out or assigned)

    def close(self) -> None:
        """Leaves the group. A static member's partitions wait for it until its session ends."""
        self._consumer.close()

    def _join(self) -> Consumer:
        try:
            consumer = Consumer(self._properties)
        except KafkaException as error:
            raise translated(error, "making the consumer") from error
        self._subscribe(consumer)
        return consumer

    def _subscribe(self, consumer: Consumer) -> None:
        consumer.subscribe(
            list(self._sources), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def _join_anew(self, error: Fatal) -> None:
        """Joins with a new client, once: back from an outage, a member can be fenced by its own older requests."""
        _log.warning("kafka consumer replaced", cause=str(error))
        self._is_cut_off = False
        self._consumer.close()
        self._handed_out = None
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
        self._check_partitions()
        if self._is_torn(partitions) and self._torn_in_a_row < MAX_TORN_IN_A_ROW:
            self._ask_again()
            return
        self._torn_in_a_row = 0
        begin = {TopicPartition(p.topic, p.partition): self._start(p) for p in self._committed(partitions)}
        starts = self._listener.assigned(begin)
        self._starts = {where: self._still_there(where, offset) for where, offset in starts.items()}
        taken = [ClientTopicPartition(where.topic, where.partition, offset) for where, offset in self._starts.items()]
        self._consumer.assign(taken)
        self._silence.begin(self._starts)

    def _is_torn(self, partitions: list[ClientTopicPartition]) -> bool:
        topics_of = Counter(partition.partition for partition in partitions)
        return any(topics < len(self._sources) for topics in topics_of.values())

    def _on_revoke(self, consumer: Consumer, partitions: list[ClientTopicPartition]) -> None:
        self._handed_out = None
        self._listener.revoked()
        self._silence.begin({})
        _let_go(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[ClientTopicPartition]) -> None:
        self._handed_out = None
        self._is_cut_off = True
        self._listener.lost()
        self._silence.begin({})
        _let_go(consumer, partitions)

    def _committed(self, partitions: list[ClientTopicPartition]) -> list[ClientTopicPartition]:
        """Asks until it is settled: an open transaction of a predecessor makes the broker answer "not yet"."""
        if not partitions:
            return []
        return self._patiently(
            "reading committed offsets", lambda: self._consumer.committed(partitions, self._call_timeout_s)
        )

    def _patiently(self, doing: str, ask: Callable[[], Answer]) -> Answer:
        """Asks again while the answer may still come: leadership moves, or an open transaction has to end."""
        wait_s = 2 * self._call_timeout_s + self._settings.transaction_timeout_ms / 1_000
        deadline = time.monotonic() + wait_s
        was_away = False
        told = ""
        while True:
            try:
                return ask()
            except KafkaException as error:
                failure = translated(error, doing)
                is_unknown = error.args[0].code() in UNKNOWN_FOR_NOW
                was_away = was_away or isinstance(failure, Retriable)
                if is_unknown and was_away:
                    failure = Retriable(str(failure))
                if not (is_unknown or isinstance(failure, Retriable)) or time.monotonic() > deadline:
                    raise failure from error
                if str(failure) != told:
                    told = str(failure)
                    _log.info("kafka asked again", problem=told)
                self._is_cut_off = True
                time.sleep(ASK_AGAIN_S)

    def _check_partitions(self) -> None:
        for topic in self._sources:
            count = self._patiently(f"asking for the partitions of {topic}", partial(self._count_partitions, topic))
            if count != self._partitions:
                raise Fatal(
                    f"{topic} has {count} partitions, and this replica began with {self._partitions}: "
                    "keys belong elsewhere now. Restart all replicas once the partition counts of the source topics "
                    "are equal (see `trimodal topics list`)."
                )

    def _count_partitions(self, topic: str) -> int:
        listed = self._consumer.list_topics(topic, self._call_timeout_s).topics[topic]
        if listed.error is not None:
            raise KafkaException(listed.error)
        return len(listed.partitions)

    def _start(self, committed: ClientTopicPartition) -> Committed | Fresh:
        if committed.error is not None:
            raise translated(committed.error, f"reading what is committed for {committed.topic}")
        if committed.offset >= 0:
            return Committed(committed.offset, committed.metadata or "")
        first, end = self._bounds(committed)
        return Fresh(first if self._settings.start == "earliest" else end)

    def _still_there(self, where: TopicPartition, offset: int) -> int:
        """Returns `offset`, or the first one that retention has left."""
        first, end = self._bounds(ClientTopicPartition(where.topic, where.partition))
        if offset > end:
            raise Fatal(
                f"{where} ends at {end}, and reading should begin at {offset}: was the topic made anew? "
                "`trimodal offsets reset` starts it over."
            )
        if offset < first:
            _log.error("records deleted before they were read", partition=str(where), from_offset=offset, first=first)
        return max(offset, first)

    def _end(self, where: TopicPartition) -> int | None:
        """Returns where a partition ends; None while no broker says so."""
        try:
            bounds = self._consumer.get_watermark_offsets(
                ClientTopicPartition(where.topic, where.partition), self._call_timeout_s
            )
        except KafkaException:
            return None
        return None if bounds is None else bounds[1]

    def _bounds(self, partition: ClientTopicPartition) -> tuple[int, int]:
        def ask() -> tuple[int, int]:
            try:
                bounds = self._consumer.get_watermark_offsets(partition, self._call_timeout_s)
            except KafkaException as error:
                if error.args[0].code() in UNKNOWN_FOR_NOW:
                    # The client heard of it while it had no leader, and would not ask again for minutes.
                    self._consumer.list_topics(partition.topic, self._call_timeout_s)
                raise
            if bounds is None:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            return bounds

        return self._patiently(f"asking for the ends of {partition.topic}[{partition.partition}]", ask)


def _let_go(consumer: Consumer, partitions: list[ClientTopicPartition]) -> None:
    """Gives partitions up. What is paused would be so for the client's next assignment too."""
    consumer.resume(partitions)
    consumer.unassign()


def _client_partitions(partitions: Sequence[TopicPartition]) -> list[ClientTopicPartition]:
    return [ClientTopicPartition(where.topic, where.partition) for where in partitions]


def _properties(kafka: KafkaSettings, topics: TopicSettings) -> Properties:
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
        "fetch.message.max.bytes": max(topics.max_record_bytes + 65_536, 1 << 20),
        "queued.max.messages.kbytes": 65_536,
        **kafka.client_options,
    }
