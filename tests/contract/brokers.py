"""The brokers that the contract is held against: one in memory, and Kafka."""

import uuid
from collections.abc import Sequence
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException

from pipeline.join.partitioner import partition_of
from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.contract import (
    Output,
    PartitionListener,
    Sink,
    Source,
)
from pipeline.kafka.offsets import OffsetQueries
from pipeline.kafka.producer import RecordProducer
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.sink import KafkaSink
from pipeline.kafka.source import KafkaSource
from pipeline.kafka.topics import source_message_bytes
from pipeline.settings import KafkaSettings, TopicSettings
from tests.support.memory import Ending, MemoryBroker, MemorySink, MemorySource

PARTITIONS = 2
KEYS = {
    number: next(k for k in (b"%d" % i for i in range(99)) if partition_of(k, PARTITIONS) == number)
    for number in (0, 1)
}


class Broker(Protocol):
    """What the suite needs beside the contract."""

    topics: TopicSettings

    def source(self, listener: PartitionListener, replica: str = "a") -> Source: ...
    def sink(self, replica: str = "a") -> Sink: ...
    def publish(self, topic: str, partition: int, values: Sequence[bytes]) -> None: ...
    def published(self, topic: str) -> list[bytes | None]: ...
    def end_unknown(self, sink: Sink, *, committed: bool) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.topics = TopicSettings(partitions=PARTITIONS)
        self._broker = MemoryBroker(PARTITIONS)

    def source(self, listener: PartitionListener, replica: str = "a") -> Source:
        return MemorySource(self._broker, self.topics.sources, listener)

    def sink(self, replica: str = "a") -> Sink:
        return MemorySink(self._broker)

    def publish(self, topic: str, partition: int, values: Sequence[bytes]) -> None:
        for value in values:
            self._broker.publish(topic, KEYS[partition], value)

    def published(self, topic: str) -> list[bytes | None]:
        return [message.value for message in self._broker.records(topic)]

    def end_unknown(self, sink: Sink, *, committed: bool) -> None:
        self._broker.endings.append(Ending.UNKNOWN_COMMITTED if committed else Ending.UNKNOWN_ABORTED)


class SilentProducer:
    """Never says that a commit is through."""

    def __init__(self, producer: Any, committed: bool) -> None:
        self._producer = producer
        self._committed = committed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def commit_transaction(self, timeout_s: float) -> None:
        if self._committed:
            self._producer.commit_transaction(timeout_s)
            self._committed = False
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, retriable=True))


class RealKafka:
    def __init__(self, bootstrap_servers: str) -> None:
        name = uuid.uuid4().hex[:8]
        self._servers = bootstrap_servers
        self._name = name
        self.topics = TopicSettings(prefix=f"{name}.", partitions=PARTITIONS)
        TopicAdmin(self._settings("admin"), self.topics).create()
        self._open: list[Source | Sink] = []

    def source(self, listener: PartitionListener, replica: str = "a") -> Source:
        source = KafkaSource(self._settings(replica), self.topics, listener, PARTITIONS)
        self._open.append(source)
        return source

    def sink(self, replica: str = "a") -> Sink:
        sink = KafkaSink(self._settings(replica), self.topics)
        self._open.append(sink)
        return sink

    def publish(self, topic: str, partition: int, values: Sequence[bytes]) -> None:
        with RecordProducer(self._settings("producer"), "test", source_message_bytes(self.topics)) as producer:
            for value in values:
                producer.publish(Output(topic, KEYS[partition], value))

    def published(self, topic: str) -> list[bytes | None]:
        queries = OffsetQueries(self._settings("reader"), "test")
        ends = queries.ends(queries.partitions([topic]), written=True)
        with TopicReader(self._settings("reader"), "test") as reader:
            batches = reader.read({where: range(end) for where, end in ends.items()})
            return [message.value for batch in batches for message in batch]

    def end_unknown(self, sink: Sink, *, committed: bool) -> None:
        """Lets the client's answer to the next commit get lost, and the commit itself too unless it is `committed`."""
        assert isinstance(sink, KafkaSink)
        setattr(sink, "_producer", SilentProducer(sink._producer, committed))  # noqa: B010  (it only looks like one)

    def stop_delivering(self, source: Source) -> None:
        """Lets the client forget to deliver: it pauses everything, and the source knows nothing of it."""
        assert isinstance(source, KafkaSource)
        source._consumer.pause(source._consumer.assignment())

    def close(self) -> None:
        for client in reversed(self._open):
            client.close()

    def _settings(self, replica: str) -> KafkaSettings:
        return KafkaSettings(
            bootstrap_servers=self._servers,
            group=self._name,
            replica=replica,
            session_timeout_ms=6_000,
            call_timeout_ms=5_000,
        )
