"""What the brokers are asked before lanes are taken: where reading begins, and whether that is still there."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientTopicPartition

from pipeline.kafka.contract import Committed, Fresh, TopicPartition
from pipeline.kafka.errors import UNKNOWN_FOR_NOW, Fatal, Retriable, translated
from pipeline.settings import KafkaSettings
from pipeline.telemetry.logs import logger

ASK_AGAIN_S = 0.1
Answer = TypeVar("Answer")
_log = logger(__name__)


class Questions:
    """Asks for one member of the group, and again while the answer may still come.

    Each may raise Retriable, when nobody has answered in the time that a call and a transaction may take, and Fatal.

    Args:
        consumer: the member's client.
        settings: how long to wait, and where a new group begins.
        on_unanswered: is called whenever something has to be asked again.
    """

    def __init__(self, consumer: Consumer, settings: KafkaSettings, on_unanswered: Callable[[], None]) -> None:
        self._consumer = consumer
        self._settings = settings
        self._on_unanswered = on_unanswered
        self._call_timeout_s = settings.call_timeout_ms / 1_000

    def check_partitions(self, topics: Sequence[str], expected: int) -> None:
        """Raises Fatal if one of these topics has not so many partitions."""
        for topic in topics:
            count = self._patiently(f"asking for the partitions of {topic}", partial(self._count_partitions, topic))
            if count != expected:
                raise Fatal(
                    f"{topic} has {count} partitions, and this replica began with {expected}: "
                    "keys belong elsewhere now. Restart all replicas once the partition counts of the source topics "
                    "are equal (see `trimodal topics list`)."
                )

    def starts(self, partitions: Sequence[ClientTopicPartition]) -> dict[TopicPartition, Committed | Fresh]:
        """Returns what is committed for these partitions, or where a group that is new begins."""
        return {TopicPartition(p.topic, p.partition): self._start(p) for p in self._committed(partitions)}

    def still_there(self, where: TopicPartition, offset: int) -> int:
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

    def end(self, where: TopicPartition) -> int | None:
        """Returns where a partition ends; None while no broker says so."""
        try:
            return self._ask_bounds(ClientTopicPartition(where.topic, where.partition))[1]
        except KafkaException:
            return None

    def _committed(self, partitions: Sequence[ClientTopicPartition]) -> list[ClientTopicPartition]:
        """Asks until it is settled: an open transaction of a predecessor makes the broker answer "not yet"."""
        if not partitions:
            return []
        return self._patiently(
            "reading committed offsets", lambda: self._consumer.committed(list(partitions), self._call_timeout_s)
        )

    def _start(self, committed: ClientTopicPartition) -> Committed | Fresh:
        if committed.error is not None:
            raise translated(committed.error, f"reading what is committed for {committed.topic}")
        if committed.offset >= 0:
            return Committed(committed.offset, committed.metadata or "")
        first, end = self._bounds(committed)
        return Fresh(first if self._settings.start == "earliest" else end)

    def _bounds(self, partition: ClientTopicPartition) -> tuple[int, int]:
        doing = f"asking for the ends of {partition.topic}[{partition.partition}]"
        return self._patiently(doing, partial(self._ask_bounds, partition))

    def _ask_bounds(self, partition: ClientTopicPartition) -> tuple[int, int]:
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

    def _count_partitions(self, topic: str) -> int:
        listed = self._consumer.list_topics(topic, self._call_timeout_s).topics[topic]
        if listed.error is not None:
            raise KafkaException(listed.error)
        return len(listed.partitions)

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
                self._on_unanswered()
                time.sleep(ASK_AGAIN_S)
