"""The indexer program: a prediction's way from its topic into Elasticsearch, top to bottom.

Offsets are committed after the bulk is acknowledged and the dead letters are delivered. A crash in between makes
predictions come again, and a document that is already there stays as it is: at least once into an idempotent id.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from consumers.watched import WatchedSubscriber
from pipeline.events.codec import Codec
from pipeline.events.errors import RecordError
from pipeline.events.records import DeadLetter, Reason, SourceOffset
from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.contract import Message, Output, TopicPartition
from pipeline.kafka.errors import Retriable
from pipeline.kafka.producer import RecordProducer
from pipeline.kafka.registry import codec
from pipeline.kafka.subscriber import KafkaSubscriber, Subscriber
from pipeline.kafka.topics import dead_letter_message_bytes
from pipeline.search.bulk import Backoff, Bulk, Indexed, Outcome, Rejected
from pipeline.search.client import connect
from pipeline.search.documents import Document, document
from pipeline.search.installation import install
from pipeline.search.reachability import ElasticsearchProbe
from pipeline.search.traced import TracedBulk
from pipeline.settings import Settings
from pipeline.telemetry import metrics
from pipeline.telemetry.health import Health
from pipeline.telemetry.logs import logger
from pipeline.telemetry.tracing import PassedOn, Tracer, context_of

QUIET_POLL_S = 0.5
FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 30.0
_log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Pending:
    """A prediction on its way: the message it came in and its document."""

    message: Message
    document: Document


@dataclass(frozen=True, slots=True)
class Clocks:
    """What the indexer would otherwise ask the machine for."""

    monotonic_s: Callable[[], float] = time.monotonic
    wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    jitter: Callable[[], float] = random.random


class Indexer:
    """One replica of the indexer group.

    Args:
        settings: alias, batch size and topics.
        codec: decodes predictions, encodes dead letters.
        subscriber: its place in the group, over the topic of predictions.
        write: sends documents, as `pipeline.search.bulk.Bulk.write`.
        deliver: publishes records and returns when all are acknowledged.
        clocks: times and jitter, for tests to drive.
    """

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        subscriber: Subscriber,
        write: Callable[[Sequence[Document]], Sequence[Outcome]],
        deliver: Callable[[Sequence[Output]], None],
        clocks: Clocks | None = None,
    ) -> None:
        self._settings = settings
        self._codec = codec
        self._subscriber = subscriber
        self._write_bulk = write
        self._deliver = deliver
        self._clocks = clocks or Clocks()
        self._done: dict[TopicPartition, int] = {}
        self._letters: list[Output] = []

    def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set, then finishes the batch in hand, unless Elasticsearch does not take it.

        Raises:
            KafkaFailure: the broker, the group or the dead letters' topic cannot be used any more.
            SearchFailure: Elasticsearch lets us in no more.
        """
        try:
            while not stop.is_set():
                if messages := self._subscriber.poll(self._settings.elasticsearch.bulk_documents, QUIET_POLL_S):
                    self._index(messages, stop)
                self._commit()
        finally:
            self._subscriber.close()

    # 1. Predictions come in and become documents; what cannot become one is a dead letter.

    def _index(self, messages: Sequence[Message], stop: threading.Event) -> None:
        self._letters.clear()
        pending = [entry for message in messages if (entry := self._decoded(message)) is not None]
        if self._write(pending, stop):
            self._deliver(self._letters)
            self._done |= {TopicPartition(m.topic, m.partition): m.offset + 1 for m in messages}

    def _decoded(self, message: Message) -> Pending | None:
        try:
            prediction = self._codec.decode_prediction(message.value or b"")
            return Pending(
                message, document(prediction, self._settings.elasticsearch.alias, context_of(message.headers))
            )
        except RecordError as error:
            self._dead_letter(message, error.reason, str(error))
            return None

    # 2. Documents are written; while Elasticsearch does not take some of them, those are sent again and again.

    def _write(self, pending: Sequence[Pending], stop: threading.Event) -> bool:
        """Returns whether every document is settled; if not, the messages will come again."""
        attempt = 0
        while pending := self._send(pending):
            if not self._wait(attempt, stop):
                _log.warning("batch given up: its predictions will come again", documents=len(pending))
                return False
            attempt += 1
        return True

    def _send(self, pending: Sequence[Pending]) -> list[Pending]:
        """Returns what must be sent again."""
        again, why = [], ""
        results: Counter[str] = Counter()
        with metrics.BULK_SECONDS.time():
            outcomes = self._write_bulk([entry.document for entry in pending])
        for entry, outcome in zip(pending, outcomes, strict=True):
            match outcome:
                case Indexed(new):
                    results["created" if new else "known"] += 1
                case Rejected(why_rejected):
                    results["rejected"] += 1
                    self._dead_letter(entry.message, Reason.REJECTED, why_rejected)
                case Backoff(why_later):
                    results["later"] += 1
                    again.append(entry)
                    why = why or why_later
        if rejected := results["rejected"]:
            _log.warning("documents rejected: they are dead letters", documents=rejected)
        for result, documents in results.items():
            metrics.DOCUMENTS.labels(result).inc(documents)
        if again:
            _log.warning("elasticsearch does not take documents", documents=len(again), problem=why)
        return again

    def _wait(self, attempt: int, stop: threading.Event) -> bool:
        """Waits, polling to stay in the group; returns whether the batch is still ours to send."""
        longest_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(attempt, 16))
        until_s = self._clocks.monotonic_s() + longest_s * (1 + self._clocks.jitter()) / 2
        generation = self._subscriber.generation
        self._subscriber.pause()
        try:
            while (left_s := until_s - self._clocks.monotonic_s()) > 0:
                self._subscriber.poll(1, min(left_s, QUIET_POLL_S))
                if stop.is_set() or self._subscriber.generation != generation:
                    return False
        finally:
            self._subscriber.resume()
        return True

    # 3. What is in Elasticsearch, or among the dead letters, is committed.

    def _commit(self) -> None:
        try:
            self._subscriber.commit(self._done)
            self._done = {}
        except Retriable as error:
            _log.warning("commit will be tried again", problem=str(error))

    def _dead_letter(self, message: Message, reason: Reason, detail: str) -> None:
        metrics.DEAD_LETTERS.labels(reason.value).inc()
        source = SourceOffset(message.topic, message.partition, message.offset)
        letter = DeadLetter(
            reason, detail, message.key, message.value, (source,), self._clocks.wall_ms(), dict(message.headers)
        )
        value = self._codec.encode_dead_letter(letter)
        self._letters.append(Output(self._settings.topics.dead_letters, message.key, value))


def build(settings: Settings, health: Health | None = None, tracer: Tracer | None = None) -> Indexer:
    """Returns an indexer that is ready to run: topics checked, index template installed, group about to be joined.

    Args:
        settings: everything.
        health: is told how the indexer is.
        tracer: shows the writing of documents as spans.

    Raises:
        KafkaFailure: the broker or the topics are not as needed.
        SearchFailure: Elasticsearch does not answer, or refuses the template.
    """
    kafka, topics, elasticsearch = settings.kafka, settings.topics, settings.elasticsearch
    TopicAdmin(kafka, topics).check([topics.predictions, topics.dead_letters])
    client = connect(elasticsearch)
    install(client, elasticsearch)
    producer = RecordProducer(kafka, "indexer", dead_letter_message_bytes(topics))

    def deliver(outputs: Sequence[Output]) -> None:
        for output in outputs:
            producer.publish(output)
        producer.flush()

    health = health or Health()
    health.probe("elasticsearch", ElasticsearchProbe(client, elasticsearch.url))
    member = KafkaSubscriber(kafka, f"{kafka.group}-indexer", topics.predictions)
    subscriber = WatchedSubscriber(member, health, "Kafka or Elasticsearch")
    write = TracedBulk(Bulk(client, elasticsearch.url).write, tracer or PassedOn()).write
    return Indexer(settings, codec(kafka, topics), subscriber, write, deliver)
