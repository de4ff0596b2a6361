"""What tests of the indexer need around it: topics of their own, predictions in, documents and dead letters out."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from elasticsearch import Elasticsearch

from pipeline.events.codec import Codec
from pipeline.events.records import DeadLetter, Prediction
from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.contract import Message, Output
from pipeline.kafka.producer import RecordProducer
from pipeline.kafka.subscriber import KafkaSubscriber
from pipeline.search.client import connect
from pipeline.search.errors import Retriable
from pipeline.search.queries import MAX_SIZE, PredictionSearch
from pipeline.settings import ElasticsearchSettings, KafkaSettings, Settings, TopicSettings
from pipeline.stack import StackAddresses

PATIENCE_S = 60.0
CODEC = Codec()


@dataclass(frozen=True, slots=True)
class Workplace:
    """Topics and an alias that no other test uses."""

    settings: Settings

    @classmethod
    def made(cls, stack: StackAddresses) -> "Workplace":
        """Creates the topics."""
        name = f"t{uuid.uuid4().hex[:8]}"
        settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=stack.bootstrap_servers, group=name, replica="one"),
            topics=TopicSettings(prefix=f"{name}-", partitions=2),
            elasticsearch=ElasticsearchSettings(url=stack.elasticsearch_url, alias=name, bulk_documents=50),
        )
        TopicAdmin(settings.kafka, settings.topics).create()
        return cls(settings)

    @property
    def client(self) -> Elasticsearch:
        """A client of the real server."""
        return connect(self.settings.elasticsearch)

    @property
    def search(self) -> PredictionSearch:
        """Searches under the alias."""
        return PredictionSearch(self.client, self.settings.elasticsearch)

    def environment(self) -> dict[str, str]:
        """The settings, for a process of its own."""
        kafka, topics, elasticsearch = self.settings.kafka, self.settings.topics, self.settings.elasticsearch
        return {
            "TRIMODAL_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "TRIMODAL_KAFKA__GROUP": kafka.group,
            "TRIMODAL_KAFKA__REPLICA": kafka.replica,
            "TRIMODAL_TOPICS__PREFIX": topics.prefix,
            "TRIMODAL_ELASTICSEARCH__URL": elasticsearch.url,
            "TRIMODAL_ELASTICSEARCH__ALIAS": elasticsearch.alias,
            "TRIMODAL_ELASTICSEARCH__BULK_DOCUMENTS": str(elasticsearch.bulk_documents),
        }

    def publish(self, records: Iterable[Prediction | bytes]) -> None:
        """Publishes predictions, and bytes as they are."""
        with RecordProducer(self.settings.kafka, "test", 1 << 20) as producer:
            for number, record in enumerate(records):
                value = CODEC.encode_prediction(record) if isinstance(record, Prediction) else record
                producer.publish(Output(self.settings.topics.predictions, f"k{number}".encode(), value))

    def indexed(self) -> list[Prediction]:
        """Returns every document under the alias."""
        self.search.refresh()
        return list(self.search.search(size=MAX_SIZE).predictions)

    def letters(self, count: int) -> list[DeadLetter]:
        """Waits for this many dead letters and returns them."""
        reader = KafkaSubscriber(
            self.settings.kafka, f"{self.settings.kafka.group}-letters", self.settings.topics.dead_letters
        )
        try:
            return [CODEC.decode_dead_letter(message.value or b"") for message in polled(reader, count)]
        finally:
            reader.close()


def polled(subscriber: KafkaSubscriber, count: int) -> list[Message]:
    """Polls until this many records are there."""
    messages: list[Message] = []
    for _ in attempts():
        messages += subscriber.poll(count, 0.2)
        if len(messages) >= count:
            break
    return messages


def attempts() -> Iterator[None]:
    """Yields until the loop is left; fails when that takes longer than anybody would wait."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        yield
    raise AssertionError(f"it did not happen within {PATIENCE_S:.0f} s")


def started(place: Workplace, **environment: str) -> "subprocess.Popen[str]":
    """Starts an indexer as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.indexer_process"],
        env={**os.environ, **place.environment(), **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(place: Workplace, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """Runs an indexer, which ends well when it is told to."""
    process = started(place, **environment)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, errors
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def await_documents(place: Workplace, count: int) -> None:
    """Waits until searches see so many documents."""
    for _ in attempts():
        # A moment after it is made, an index is not there to be searched yet: 503.
        with suppress(Retriable):
            if len(place.indexed()) >= count:
                break


def ids(predictions: Sequence[Prediction]) -> list[str]:
    """Returns their ids in order."""
    return sorted(prediction.prediction_id for prediction in predictions)
