"""Topics of a test's own on the real Kafka, and everything that can be written, committed and deleted there."""

import time
import uuid
from collections.abc import Iterable, Mapping

from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as ClientTopicPartition
from confluent_kafka.admin import AdminClient

from pipeline.events.codec import Codec
from pipeline.events.records import DeadLetter, Reason, SourceOffset
from pipeline.join import offset_map
from pipeline.join.audit import Account
from pipeline.join.tracker import Position
from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.auditing import run_audit
from pipeline.kafka.contract import Message, TopicPartition
from pipeline.kafka.offsets import OffsetQueries
from pipeline.kafka.reader import TopicReader
from pipeline.settings import KafkaSettings, Settings, TopicSettings
from tests.support.predictions import a_prediction

PARTITIONS = 2
WAIT_S = 30.0
CODEC = Codec()


class OwnTopics:
    """Topics of their own, and everything that can be done to them."""

    def __init__(self, bootstrap_servers: str) -> None:
        name = uuid.uuid4().hex[:8]
        self.settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=bootstrap_servers, group=name, replica="test"),
            topics=TopicSettings(prefix=f"{name}.", partitions=PARTITIONS),
        )
        self.topics = self.settings.topics
        self.speech = self.topics.sources[0]
        TopicAdmin(self.settings.kafka, self.topics).create()
        self.queries = OffsetQueries(self.settings.kafka, "test")
        self.admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        self._plain = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 0})
        self._number = 0

    def publish(self, topic: str, *values: bytes, partition: int = 0) -> None:
        for value in values:
            self._plain.produce(topic, value, partition=partition)
        assert self._plain.flush(WAIT_S) == 0

    def transactional(self) -> Producer:
        servers = self.settings.kafka.bootstrap_servers
        producer = Producer({"bootstrap.servers": servers, "transactional.id": uuid.uuid4().hex})
        producer.init_transactions(WAIT_S)
        producer.begin_transaction()
        return producer

    def aborted(self, topic: str, *values: bytes) -> None:
        producer = self.transactional()
        for value in values:
            producer.produce(topic, value, partition=0)
        producer.flush(WAIT_S)
        producer.abort_transaction(WAIT_S)
        self.await_markers(topic)

    def await_markers(self, topic: str) -> None:
        """Transactions are over before their markers are written."""
        places = self.queries.partitions([topic])
        deadline = time.monotonic() + WAIT_S
        while self.queries.ends(places) != self.queries.ends(places, written=True):
            assert time.monotonic() < deadline

    def predict(self, *sources: SourceOffset, **changes: int | str) -> None:
        self._number += 1
        value = CODEC.encode_prediction(a_prediction(self._number, sources=sources, **changes))
        self.publish(self.topics.predictions, value, partition=self._number % PARTITIONS)

    def dead_letter(self, *sources: SourceOffset, reason: Reason = Reason.LATE) -> None:
        letter = DeadLetter(reason, "", b"a", b"b", sources, 0)
        self.publish(self.topics.dead_letters, CODEC.encode_dead_letter(letter))

    def commit(self, position: Position, text: str | None = None) -> None:
        """Commits the position of speech[0] for the group, whatever stands in the topic."""
        metadata = offset_map.encode(position, self.speech, 0) if text is None else text
        consumer = self.consumer()
        consumer.commit(
            offsets=[ClientTopicPartition(self.speech, 0, position.low, metadata=metadata)], asynchronous=False
        )
        consumer.close()

    def consumer(self) -> Consumer:
        kafka = self.settings.kafka
        return Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": kafka.group})

    def delete_below(self, topic: str, partition: int, offset: int) -> None:
        where = ClientTopicPartition(topic, partition, offset)
        self.admin.delete_records([where])[where].result(timeout=WAIT_S)

    def source(self, offset: int, partition: int = 0) -> SourceOffset:
        return SourceOffset(self.speech, partition, offset)

    def ranges(self, topic: str, *, written: bool = False) -> dict[TopicPartition, range]:
        places = self.queries.partitions([topic])
        begins, ends = self.queries.begins(places), self.queries.ends(places, written=written)
        return {where: range(begins[where], ends[where]) for where in places}

    def read(self, ranges: Mapping[TopicPartition, range]) -> list[Message]:
        with TopicReader(self.settings.kafka, "test") as reader:
            return [message for batch in reader.read(ranges) for message in batch]

    def account(self) -> Account:
        return run_audit(self.settings).verdict.topics[self.speech]

    def delete(self) -> None:
        TopicAdmin(self.settings.kafka, self.topics).delete()


def values(messages: Iterable[Message]) -> list[bytes | None]:
    return [message.value for message in messages]
