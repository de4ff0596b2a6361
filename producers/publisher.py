"""Sends events to their topics."""

from types import TracebackType
from typing import Self

from pipeline.events.records import Event, Headers, ImageEvent, Modality, SensorEvent, SpeechEvent
from pipeline.join.inspection import MAX_KEY_BYTES
from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.contract import Output
from pipeline.kafka.producer import RecordProducer
from pipeline.kafka.registry import codec
from pipeline.kafka.topics import source_message_bytes
from pipeline.settings import Settings
from pipeline.telemetry.clock import wall_ms
from pipeline.telemetry.tracing import Kind, Work, context_of, tracer
from producers.errors import InvalidInput


class Publisher:
    """Publishes events of any kind, each to the topic of its modality.

    A context manager: leaving it waits until all of it has arrived, or raises. Not for several threads.

    Attributes:
        codec: writes values as the settings say.

    Raises:
        KafkaFailure: the broker does not answer, or the source topics are missing or do not fit.
    """

    def __init__(self, settings: Settings) -> None:
        self._topics = settings.topics
        TopicAdmin(settings.kafka, settings.topics).check(settings.topics.sources)
        self.codec = codec(settings.kafka, settings.topics)
        self._tracer = tracer(settings.monitoring, "publisher", settings.kafka.replica)
        self._producer = RecordProducer(settings.kafka, "publisher", source_message_bytes(settings.topics))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._producer.__exit__(kind, error, trace)
        self._tracer.close()

    def publish(self, key: str | bytes, event: Event, headers: Headers = ()) -> Output:
        """Hands an event to the client and returns the record it became; see `flush` for when it has arrived.

        Args:
            key: names the moment: events of the same key are joined. UTF-8, 1 to 256 bytes.
            event: what happened.
            headers: go with the record; a `traceparent` among them is carried on to the prediction.

        Raises:
            InvalidInput: the key is not of that kind, or the event is larger than topics.max_record_bytes.
            Undelivered: an earlier record was given up.
        """
        checked = checked_key(key)
        value = self.codec.encode_event(event)
        if len(value) > self._topics.max_record_bytes:
            raise InvalidInput(
                f"The event of key {key!r} has {len(value)} bytes, more than topics.max_record_bytes="
                f"{self._topics.max_record_bytes}: cut or compress it, or raise the setting and the topic's limit."
            )
        output = self._traced(Output(self._topics.source(modality_of(event)), checked, value, headers))
        self._producer.publish(output)
        return output

    def send(self, output: Output) -> None:
        """Hands a finished record to the client, unchecked. Raises KafkaFailure."""
        self._producer.publish(self._traced(output))

    def flush(self, timeout_s: float | None = None) -> None:
        """Waits until all has arrived. Raises Undelivered."""
        self._producer.flush(timeout_s)

    def _traced(self, output: Output) -> Output:
        """Starts a trace if the settings ask for spans, unless the record's headers name one that it belongs to.

        Of one that is not kept the record says nothing: a header costs all who read it more than a span does.
        """
        if not self._tracer.starts or context_of(output.headers) is not None:
            return output
        now_ms, attributes = wall_ms(), {"messaging.system": "kafka", "messaging.destination.name": output.topic}
        started = self._tracer.span(Work("publish", Kind.PRODUCES, now_ms, now_ms, (), attributes), None)
        if started is None or not started.sampled:
            return output
        return output._replace(headers=(*output.headers, *started.headers()))


def checked_key(key: str | bytes) -> bytes:
    """Returns the key as it travels.

    Raises:
        InvalidInput: it is empty, longer than 256 bytes or not UTF-8.
    """
    try:
        raw = key.encode() if isinstance(key, str) else key
        raw.decode()
    except UnicodeError as error:
        raise InvalidInput(f"The key {key!r} is not UTF-8: give text.") from error
    if not 1 <= len(raw) <= MAX_KEY_BYTES:
        raise InvalidInput(f"The key has {len(raw)} bytes: give 1 to {MAX_KEY_BYTES}.")
    return raw


def modality_of(event: Event) -> Modality:
    """Returns the modality whose topic an event belongs in."""
    match event:
        case SpeechEvent():
            return Modality.SPEECH
        case ImageEvent():
            return Modality.IMAGE
        case SensorEvent():
            return Modality.SENSOR
