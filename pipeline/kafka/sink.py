"""The transactional sink: outputs, offsets and offset maps in one Kafka transaction."""

import time
from collections.abc import Callable

from confluent_kafka import KafkaException, Producer
from confluent_kafka import TopicPartition as ClientTopicPartition

from pipeline.kafka.clients import Properties, common
from pipeline.kafka.contract import Transaction
from pipeline.kafka.errors import AbortNeeded, Fatal, Fenced, KafkaFailure, Retriable, translated
from pipeline.kafka.topics import dead_letter_message_bytes
from pipeline.settings import KafkaSettings, TopicSettings
from pipeline.telemetry.logs import logger
from pipeline.telemetry.watchdog import Watchdog

MAX_NEW_PRODUCERS = 5
_log = logger(__name__)


class KafkaSink:
    """A transactional producer, and what to do when it fails.

    The order of a commit: begin, produce, send the offsets with their maps, commit. Then:

    * an error that can be retried: the same call again, until `call_timeout_ms` is over;
    * one that needs an abort: flush (librdkafka issue 4849), abort, raise AbortNeeded;
    * a fatal one, or a commit or abort whose end is not known: a new producer, which fences the old one and ends
      its transaction, then AbortNeeded, so that the caller reads what happened from the committed offsets
      (librdkafka has no KIP-890). After `MAX_NEW_PRODUCERS` in a row without a commit: Fatal, since two processes
      of one name would fence each other for ever. One that is fenced waits for a heartbeat of the group before it
      takes the id back, each time for one more: the group ends the older of the two meanwhile. While no broker
      answers it waits, for as long as it takes.
    """

    def __init__(self, kafka: KafkaSettings, topics: TopicSettings, watchdog: Watchdog | None = None) -> None:
        self._properties = _properties(kafka, topics)
        self._call_timeout_s = kafka.call_timeout_ms / 1_000
        self._watchdog = watchdog or Watchdog((kafka.call_timeout_ms + kafka.watchdog_ms) / 1_000)
        self._heartbeat_s = kafka.heartbeat_ms / 1_000
        self._new_producers = 0
        self._producer = self._start()

    def commit(self, transaction: Transaction) -> None:
        """Publishes the outputs and commits the offsets, all or nothing; see `pipeline.kafka.contract.Sink`."""
        offsets = [
            ClientTopicPartition(where.topic, where.partition, committed.offset, metadata=committed.metadata)
            for where, committed in transaction.offsets.items()
        ]
        producer = self._producer
        try:
            self._call("beginning a transaction", producer.begin_transaction)
            self._produce(transaction)
            self._call(
                "sending offsets to the transaction",
                lambda: producer.send_offsets_to_transaction(offsets, transaction.group.handle, self._call_timeout_s),
            )
            self._call("committing", lambda: producer.commit_transaction(self._call_timeout_s))
        except AbortNeeded as error:
            self._abort(error)
            raise
        except KafkaFailure as error:
            self._replace(error)
            raise AbortNeeded(f"{error} What became of the transaction is read from the committed offsets.") from error
        self._new_producers = 0

    def close(self) -> None:
        """Drops the producer; a transaction is never open between calls."""
        with self._watchdog.watching("closing the transactional producer"):
            self._producer.flush(self._call_timeout_s)
        self._watchdog.close()

    def _produce(self, transaction: Transaction) -> None:
        produce = self._producer.produce
        for output in transaction.outputs:
            while True:
                try:
                    if output.headers:
                        produce(output.topic, output.value, output.key, headers=list(output.headers))
                    else:
                        produce(output.topic, output.value, output.key)
                    break
                except BufferError:
                    self._producer.poll(0.1)
                except KafkaException as error:
                    raise AbortNeeded(str(translated(error, f"publishing to {output.topic}"))) from error
        self._producer.poll(0)

    def _call(self, doing: str, call: Callable[[], object]) -> None:
        deadline = time.monotonic() + self._call_timeout_s
        while True:
            try:
                with self._watchdog.watching(doing):
                    call()
                return
            except KafkaException as error:
                failure = translated(error, doing)
                if not isinstance(failure, Retriable) or time.monotonic() > deadline:
                    raise failure from error
                _log.info("kafka transaction retried", problem=str(failure))

    def _abort(self, cause: AbortNeeded) -> None:
        _log.warning("kafka transaction aborted", cause=str(cause))
        try:
            with self._watchdog.watching("flushing before an abort"):
                self._producer.flush(self._call_timeout_s)
            self._call("aborting", lambda: self._producer.abort_transaction(self._call_timeout_s))
        except KafkaFailure as error:
            self._replace(error)

    def _replace(self, cause: KafkaFailure) -> None:
        self._new_producers += 1
        if self._new_producers > MAX_NEW_PRODUCERS:
            name = self._properties["transactional.id"]
            raise Fatal(
                f"{cause} {MAX_NEW_PRODUCERS} new producers in a row have failed. If another process runs as "
                f"{name}, give each its own --replica; otherwise look at the broker's log."
            ) from cause
        _log.warning("kafka producer replaced", cause=str(cause))
        if isinstance(cause, Fenced):
            time.sleep(self._new_producers * self._heartbeat_s)
        while True:
            try:
                self._producer = self._start()
                return
            except Retriable as error:
                _log.warning("waiting for the brokers", problem=str(error))

    def _start(self) -> Producer:
        try:
            producer = Producer(self._properties)
        except KafkaException as error:
            raise translated(error, "making the transactional producer") from error
        self._call("taking the transactional id", lambda: producer.init_transactions(self._call_timeout_s))
        return producer


def _properties(kafka: KafkaSettings, topics: TopicSettings) -> Properties:
    return {
        **common(kafka, "sink", with_log=True),
        "transactional.id": f"{kafka.group}-{kafka.replica}",
        "transaction.timeout.ms": kafka.transaction_timeout_ms,
        "message.timeout.ms": kafka.transaction_timeout_ms,
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "linger.ms": 1,
        "retry.backoff.ms": kafka.retry_backoff_ms,
        "retry.backoff.max.ms": max(50, kafka.retry_backoff_ms),
        "message.max.bytes": dead_letter_message_bytes(topics),
        "queue.buffering.max.messages": 1_000_000,
        "queue.buffering.max.kbytes": 1 << 20,
        "delivery.report.only.error": True,
        # send_offsets_to_transaction hangs, whatever its timeout, when the coordinator is gone from the metadata
        # (librdkafka issues 5456, 5511), until any other connection comes or goes. These two see to that in seconds:
        # unused connections are closed, and a request a second keeps one open to ask for the new coordinator.
        "connections.max.idle.ms": 3_000,
        "topic.metadata.refresh.interval.ms": 1_000,
        **kafka.client_options,
    }
