"""A group member that reads one topic at least once: what is done is committed, what is not comes again."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import Message as ClientMessage
from confluent_kafka import TopicPartition as ClientTopicPartition

from pipeline.kafka.backlog import backlog
from pipeline.kafka.clients import Properties, common
from pipeline.kafka.contract import Message, TopicPartition
from pipeline.kafka.errors import Fatal, explain, is_passing, translated
from pipeline.kafka.messages import received
from pipeline.settings import KafkaSettings
from pipeline.telemetry.logs import logger

_COME_TOO_LATE = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
}
_log = logger(__name__)


class Subscriber(Protocol):
    """A member of a consumer group that reads one topic at least once."""

    @property
    def generation(self) -> int:
        """Grows whenever partitions are taken away: what was polled before and is not committed comes again."""

    def poll(self, count: int, timeout_s: float) -> Sequence[Message]:
        """Returns up to `count` records, each partition's in its order; waits at most `timeout_s` for the first.

        Raises:
            Fatal: this member can read no more.
        """

    def commit(self, following: Mapping[TopicPartition, int]) -> None:
        """Commits synchronously the offset after the last record that is done, of each partition still held.

        A commit that comes too late, after a rebalance, changes nothing: the records go to their new owner.

        Raises:
            Retriable: the same commit may succeed later.
            Fatal: this member is out of the group for good.
        """

    def pause(self) -> None:
        """Stops delivery of all partitions, also of those assigned later. Poll on, to stay in the group."""

    def resume(self) -> None:
        """Takes delivery up again, after what was polled last."""

    def close(self) -> None:
        """Ends the membership."""


class KafkaSubscriber:
    """A static member under the classic `range` assignor, reading what is committed, from the earliest on.

    Rebalances are eager: all partitions go, then those that are ours now come, from their committed offsets.
    A restart within `session_timeout_ms` takes its partitions back without a rebalance, since closing does not leave
    the group. Not for several threads.

    Args:
        settings: brokers, timeouts, and `replica`, the group.instance.id.
        group: the consumer group.
        topic: the topic; that it is there is for `pipeline.kafka.admin.TopicAdmin.check` to say.
    """

    def __init__(self, settings: KafkaSettings, group: str, topic: str) -> None:
        self._group = group
        self._topic = topic
        self._replica = settings.replica
        self._paused = False
        self._generation = 0
        self._assigned: set[TopicPartition] = set()
        self._delivered: dict[TopicPartition, int] = {}
        self._has_assignment = False
        try:
            self._consumer = Consumer(_properties(settings, group))
        except (KafkaException, ValueError) as error:
            raise Fatal(f"The Kafka client refuses its settings ({error}): check kafka.client_options.") from error
        self._consumer.subscribe([topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    @property
    def generation(self) -> int:
        """How often partitions were taken away."""
        return self._generation

    def poll(self, count: int, timeout_s: float) -> Sequence[Message]:
        """Returns records; rebalances happen in here."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                first = self._consumer.poll(max(0.0, deadline - time.monotonic()))
                # consume() waits its whole timeout for a full batch, so the rest is asked for without one.
                rest = self._consumer.consume(count - 1, 0) if first is not None and count > 1 else []
            except KafkaException as error:
                raise translated(error, f"consuming {self._topic}") from error
            if first is None:
                return []
            if records := [received(message) for message in (first, *rest) if self._is_record(message)]:
                return records

    def commit(self, following: Mapping[TopicPartition, int]) -> None:
        """Commits those of the partitions still held."""
        offsets = [
            ClientTopicPartition(where.topic, where.partition, offset)
            for where, offset in following.items()
            if where in self._assigned
        ]
        if not offsets:
            return
        doing = f"committing {self._topic} for {self._group}"
        try:
            answers = self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() not in _COME_TOO_LATE:
                raise translated(error, doing) from error
            _log.warning("commit came too late", problem=explain(error.args[0]))
            return
        for answer in answers or []:
            if answer.error is not None:
                raise translated(answer.error, doing)

    def assigned(self) -> Collection[TopicPartition] | None:
        """Returns the partitions held; None while the group has not handed them out."""
        return self._assigned if self._has_assignment else None

    def backlog(self) -> Mapping[TopicPartition, int]:
        """Returns how many records of each partition held are still to be delivered, as of its last fetch."""
        return backlog(self._consumer, self._delivered)

    def pause(self) -> None:
        """Stops delivery; a rebalance does not start it again."""
        self._paused = True
        self._consumer.pause(_client_partitions(self._assigned))

    def resume(self) -> None:
        """Takes delivery up again."""
        self._paused = False
        self._consumer.resume(_client_partitions(self._assigned))

    def close(self) -> None:
        """Closes the client. The partitions wait for this replica until its session ends."""
        self._consumer.close()

    def _is_record(self, message: ClientMessage) -> bool:
        if (error := message.error()) is None:
            return True
        if error.code() == KafkaError._PARTITION_EOF:
            self._delivered[TopicPartition(message.topic() or "", message.partition() or 0)] = message.offset() or 0
            return False
        # A fatal error comes once, as a message whose own fatal() is False, then silence.
        if error.code() == KafkaError._FATAL:
            because = error.str().rsplit("error: ", 1)[-1]
            raise Fatal(
                f"This member of the group {self._group} is out of it ({because}): if another process runs as "
                f"{self._replica}, give each its own --replica; otherwise start it again."
            )
        if error.code() == KafkaError._MAX_POLL_EXCEEDED or is_passing(error):
            _log.warning("kafka consumer", problem=explain(error))
            return False
        failure = translated(error, f"consuming {self._topic}")
        raise failure if isinstance(failure, Fatal) else Fatal(str(failure))

    def _on_assign(self, consumer: Consumer, partitions: list[ClientTopicPartition]) -> None:
        self._assigned = {TopicPartition(p.topic, p.partition) for p in partitions}
        self._has_assignment = True
        consumer.assign(partitions)
        if self._paused:
            consumer.pause(partitions)
        _log.info("partitions assigned", topic=self._topic, partitions=sorted(p.partition for p in partitions))

    def _on_revoke(self, consumer: Consumer, _partitions: list[ClientTopicPartition]) -> None:
        self._generation += 1
        self._assigned, self._has_assignment = set(), False
        self._delivered.clear()
        consumer.unassign()


def _client_partitions(partitions: set[TopicPartition]) -> list[ClientTopicPartition]:
    return [ClientTopicPartition(where.topic, where.partition) for where in partitions]


def _properties(settings: KafkaSettings, group: str) -> Properties:
    """Returns what may be overridden by kafka.client_options first, and what may not last."""
    return {
        "session.timeout.ms": settings.session_timeout_ms,
        "heartbeat.interval.ms": min(3_000, settings.session_timeout_ms // 3),
        "queued.max.messages.kbytes": 16_384,
        **common(settings, "subscriber", with_log=True),
        "group.id": group,
        "group.instance.id": settings.replica,
        "partition.assignment.strategy": "range",
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "fetch.queue.backoff.ms": 10,
    }
