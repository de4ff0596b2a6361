"""Publishes records outside transactions: idempotent, acknowledged by all replicas in sync, bounded."""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.kafka.clients import Properties, common
from pipeline.kafka.contract import Output
from pipeline.kafka.errors import Fatal, KafkaFailure, explain, translated
from pipeline.settings import KafkaSettings

MAX_QUEUED_RECORDS = 50_000
MAX_QUEUED_KBYTES = 64 * 2**10
_GUARANTEES: Properties = {"acks": "all", "enable.idempotence": True, "partitioner": "murmur2_random"}
_SHOWN_KEY_CHARACTERS = 60
_FULL_WAIT_S = 0.1
_LEAVING_FLUSH_S = 5.0


@dataclass(frozen=True, slots=True)
class Failure:
    """One record that was given up, and the client's reason."""

    topic: str
    key: bytes | None
    reason: str

    def __str__(self) -> str:
        return f"a record of {self.topic} with the key {_shown(self.key)}: {self.reason}"


class Undelivered(KafkaFailure):
    """Records did not reach the broker, or nobody knows whether they did.

    Attributes:
        failures: those that were given up, in the order in which that became known.
        unanswered: how many were still on their way when the time was up.
    """

    def __init__(self, failures: tuple[Failure, ...], unanswered: int, timeout_s: float | None = None) -> None:
        self.failures = failures
        self.unanswered = unanswered
        super().__init__(_sentence(failures, unanswered, timeout_s))


class RecordProducer:
    """Publishes `Output` records in the order given, each exactly once in its partition while this object lives.

    But for one case, seen when all brokers were killed at once: the client takes a new epoch and sends again what it
    had no answer for, though the broker has it. The join sets the second record aside as DUPLICATE.

    A context manager: leaving it flushes. Not for several threads.

    Args:
        settings: brokers and timeouts; a record is given up after `delivery_timeout_ms`.
        role: part in the program, for the broker's logs.
        max_message_bytes: largest record, as the topic takes it.
    """

    def __init__(self, settings: KafkaSettings, role: str, max_message_bytes: int) -> None:
        self._failures: list[Failure] = []
        self._timeout_s = settings.delivery_timeout_ms / 1_000
        try:
            self._producer = Producer(client_properties(settings, role, max_message_bytes))
        except (KafkaException, ValueError) as error:
            raise Fatal(f"The Kafka client refuses its settings ({error}): check kafka.client_options.") from error
        self._on_delivery = self._record_failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Flushes. When an exception is on its way, that one is the news, and failures here are kept quiet."""
        if kind is None:
            self.flush()
        else:
            self._producer.flush(_LEAVING_FLUSH_S)
            self._producer.purge()

    def publish(self, output: Output, timestamp_ms: int | None = None) -> None:
        """Hands a record to the client; waits while its queue is full.

        Args:
            output: the record; its key decides its partition.
            timestamp_ms: the record's timestamp; a topic with LogAppendTime replaces it.

        Raises:
            Undelivered: an earlier record was given up.
            KafkaFailure: this record cannot be published at all, such as one that is too large.
        """
        self._raise_failures()
        while True:
            try:
                self._producer.produce(
                    output.topic,
                    output.value,
                    output.key,
                    on_delivery=self._on_delivery,
                    timestamp=timestamp_ms or 0,
                    headers=list(output.headers),
                )
                break
            except BufferError:
                self._producer.poll(_FULL_WAIT_S)
                self._raise_failures()
            except KafkaException as error:
                doing = f"publishing to {output.topic} with the key {_shown(output.key)}"
                raise translated(error, doing) from error
        self._producer.poll(0)

    def flush(self, timeout_s: float | None = None) -> None:
        """Waits until every record is acknowledged.

        Args:
            timeout_s: how long; without it until each record is acknowledged or given up.

        Raises:
            Undelivered: records were given up, or are unanswered when the time is up. The unanswered are dropped.
        """
        given_up_s = self._timeout_s + _LEAVING_FLUSH_S
        unanswered = self._producer.flush(given_up_s if timeout_s is None else timeout_s)
        if unanswered:
            self._producer.purge()
            failures = tuple(self._failures)
            self._producer.poll(0)
            self._failures.clear()
            raise Undelivered(failures, unanswered, timeout_s)
        self._raise_failures()

    def _raise_failures(self) -> None:
        if self._failures:
            failures = tuple(self._failures)
            self._failures.clear()
            raise Undelivered(failures, unanswered=0)

    def _record_failure(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            key = message.key()
            raw = key.encode() if isinstance(key, str) else key
            self._failures.append(Failure(message.topic() or "?", raw, explain(error)))


def client_properties(settings: KafkaSettings, role: str, max_message_bytes: int) -> Properties:
    """Returns the client's properties; kafka.client_options may set all but those that carry the guarantees.

    Raises:
        Fatal: it sets one of those.
    """
    if taken := sorted(_GUARANTEES.keys() & settings.client_options.keys()):
        raise Fatal(f"kafka.client_options sets {', '.join(taken)}, on which exactly-once rests: leave it out.")
    return {
        "compression.type": "lz4",
        "linger.ms": 5,
        "queue.buffering.max.messages": MAX_QUEUED_RECORDS,
        "queue.buffering.max.kbytes": MAX_QUEUED_KBYTES,
        "message.max.bytes": max_message_bytes,
        "message.timeout.ms": settings.delivery_timeout_ms,
        **common(settings, role),
        "log_level": 0,
        **_GUARANTEES,
        "delivery.report.only.error": True,
    }


def _sentence(failures: tuple[Failure, ...], unanswered: int, timeout_s: float | None) -> str:
    parts = []
    if failures:
        count = "1 record was" if len(failures) == 1 else f"{len(failures)} records were"
        parts.append(f"{count} not delivered, first {failures[0]}.")
    if unanswered:
        count = "1 record was" if unanswered == 1 else f"{unanswered} records were"
        waited = "" if timeout_s is None else f" after {timeout_s:g} s"
        parts.append(f"{count} still unanswered{waited}: see that the brokers are up, then publish again.")
    return " ".join(parts)


def _shown(key: bytes | None) -> str:
    if key is None:
        return "(none)"
    text = repr(key.decode("utf-8", "backslashreplace"))
    return text if len(text) <= _SHOWN_KEY_CHARACTERS else f"{text[:_SHOWN_KEY_CHARACTERS]}… ({len(key)} bytes)"
