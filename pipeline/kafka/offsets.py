"""Where partitions begin and end and what a group has committed, asked from outside any group."""

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any, TypeVar

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientTopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # it re-exports silently

from pipeline.kafka.clients import CONNECT_TIMEOUT_S, Properties, cluster, common
from pipeline.kafka.contract import Committed, TopicPartition
from pipeline.kafka.errors import LEADERSHIP_MOVES, Fatal, translated, unanswered
from pipeline.settings import KafkaSettings

PROPAGATION_S = 3.0
"""For a moment a topic is unknown to some of the brokers: after another has made it, or while they start."""
_AGAIN_S = 0.1
_PASSING = {*LEADERSHIP_MOVES, KafkaError.UNKNOWN_TOPIC_OR_PART}
"""What brokers answer while a topic is new or leadership moves."""

Offsets = dict[TopicPartition, int]
_Answer = TypeVar("_Answer")


class OffsetQueries:
    """Asks the brokers for offsets. Every method raises a `KafkaFailure` within seconds when no broker answers.

    Args:
        kafka: the brokers.
        role: what the answers are for, for the brokers' logs.
    """

    def __init__(self, kafka: KafkaSettings, role: str) -> None:
        self._kafka = kafka
        self._timeout_s = kafka.call_timeout_ms / 1_000
        try:
            # What fails is raised here; lines on every attempt to connect would only repeat it.
            quiet: Properties = {"error_cb": lambda _: None, "log_level": 0}
            self._properties = common(kafka, role) | quiet
            self._client = AdminClient(self._properties)
        except (KafkaException, ValueError) as error:
            raise Fatal(f"The Kafka client refuses its settings ({error}): check kafka.client_options.") from error

    def partitions(self, topics: Collection[str]) -> tuple[TopicPartition, ...]:
        """Returns all partitions of these topics, for which it waits up to `PROPAGATION_S`.

        Raises:
            Fatal: one of the topics is not there.
            KafkaFailure: no broker answers.
        """
        deadline = time.monotonic() + PROPAGATION_S
        while True:
            listed = cluster(self._client, self._kafka, "topics").topics
            absent = [name for name in topics if name not in listed or not listed[name].partitions]
            if not absent:
                return tuple(TopicPartition(name, at) for name in topics for at in sorted(listed[name].partitions))
            if time.monotonic() > deadline:
                raise Fatal(
                    f"There is no topic {', '.join(absent)}: run `trimodal topics create`, or check topics.prefix."
                )
            time.sleep(_AGAIN_S)

    def begins(self, partitions: Iterable[TopicPartition]) -> Offsets:
        """Returns the first offset that each partition still holds."""
        return self._list(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def ends(self, partitions: Iterable[TopicPartition], *, written: bool = False) -> Offsets:
        """Returns the offset after the last one of each partition.

        Args:
            partitions: those to look at.
            written: counts everything that is written, up to the high watermark. Without it the end is the last
                stable offset: the first one of the oldest transaction that is still open, if there is one.
        """
        return self._list(partitions, OffsetSpec.latest(), written=written)  # type: ignore[no-untyped-call]

    def since(self, partitions: Collection[TopicPartition], timestamp_ms: int) -> Offsets:
        """Returns the first offset of each partition whose broker timestamp is not before `timestamp_ms`.

        It is the partition's end where there is none.
        """
        ends = self.ends(partitions, written=True)
        found = self._list(partitions, OffsetSpec.for_timestamp(timestamp_ms), written=True)
        return {where: offset if offset >= 0 else ends[where] for where, offset in found.items()}

    def committed(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Committed]:
        """Returns what a group has committed, with the metadata; a partition without a commit is left out.

        Offsets in a transaction that is still open do not count: the commit before it does.
        """
        wanted = [_client_partition(where) for where in partitions]
        doing = f"asking what {group} has committed"
        # A consumer that subscribes to nothing is in no group. The admin client's way, list_consumer_group_offsets,
        # fails an assertion in librdkafka 2.16 (rd_kafka_enq_once_del_source_return) when the coordinator is killed.
        consumer = Consumer({**self._properties, "group.id": group, "isolation.level": "read_uncommitted"})
        try:
            found = self._patiently(doing, lambda: consumer.committed(wanted, self._timeout_s))
        finally:
            consumer.close()
        for answer in found:
            if answer.error is not None:
                raise translated(answer.error, f"{doing} for {answer.topic}[{answer.partition}]")
        return {
            TopicPartition(answer.topic, answer.partition): Committed(answer.offset, answer.metadata or "")
            for answer in found
            if answer.offset >= 0
        }

    def _list(self, partitions: Iterable[TopicPartition], spec: Any, *, written: bool = False) -> Offsets:
        isolation = IsolationLevel.READ_UNCOMMITTED if written else IsolationLevel.READ_COMMITTED
        wanted = {_client_partition(where): spec for where in partitions}
        if not wanted:
            return {}

        def ask() -> Offsets:
            answers = self._client.list_offsets(wanted, isolation_level=isolation, request_timeout=self._timeout_s)
            return {
                TopicPartition(where.topic, where.partition): answer.result(timeout=self._timeout_s).offset
                for where, answer in answers.items()
            }

        return self._patiently("asking for offsets", ask)

    def _patiently(self, doing: str, ask: Callable[[], _Answer]) -> _Answer:
        """Asks again while leadership moves, which takes seconds at most."""
        deadline = time.monotonic() + min(CONNECT_TIMEOUT_S, self._timeout_s)
        while True:
            try:
                return ask()
            except KafkaException as error:
                if error.args[0].code() not in _PASSING or time.monotonic() > deadline:
                    raise translated(error, doing) from error
                # The client remembers who led a partition, and in which epoch, until it is made to ask.
                with suppress(KafkaException):
                    self._client.list_topics(timeout=self._timeout_s)
            except TimeoutError as error:
                raise unanswered(doing, self._timeout_s) from error
            time.sleep(_AGAIN_S)


def _client_partition(where: TopicPartition) -> ClientTopicPartition:
    return ClientTopicPartition(where.topic, where.partition)
