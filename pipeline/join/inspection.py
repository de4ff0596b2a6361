"""The checks that a source record must pass before it is joined."""

from typing import Protocol

from pipeline.events.codec import Codec
from pipeline.events.errors import Invalid, RecordError, TooLarge, Undecodable
from pipeline.events.records import Event, Modality, Reason, SensorEvent, SpeechEvent
from pipeline.join.partitioner import partition_of

MAX_KEY_BYTES = 256
FLOAT32_BYTES = 4


class Misrouted(RecordError):
    """The record is not in the partition that its key belongs to, so it would never meet the others of its key."""

    reason = Reason.MISROUTED


class ClockSkew(RecordError):
    """The record's event time is too far ahead of the broker's clock; it must not move the watermark."""

    reason = Reason.CLOCK_SKEW


class Delivered(Protocol):
    """What the checks look at of a source record; `timestamp_ms` is the broker's."""

    @property
    def partition(self) -> int: ...  # noqa: D102
    @property
    def timestamp_ms(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102


class Inspector:
    """Decodes source records and refuses what is outside the contract. Pure.

    Args:
        codec: reads the values.
        partitions: how many each source topic has.
        max_skew_ms: how far an event time may be ahead of the broker's timestamp.
        max_record_bytes: largest value.
    """

    def __init__(self, codec: Codec, partitions: int, max_skew_ms: int, max_record_bytes: int) -> None:
        self._codec = codec
        self._partitions = partitions
        self._max_skew_ms = max_skew_ms
        self._max_record_bytes = max_record_bytes

    def inspect(self, modality: Modality, arrived: Delivered) -> tuple[bytes, Event]:
        """Returns the join key and the event of a source record.

        Raises:
            RecordError: one of its kinds, with a sentence about what is wrong and what to do.
        """
        known_key = self._checked_key(arrived.key, arrived.partition)
        value = arrived.value
        if value is None:
            raise Undecodable("It has no value: publish an Avro record.")
        if len(value) > self._max_record_bytes:
            raise TooLarge(
                f"Its value has {len(value):,} bytes, and topics.max_record_bytes is {self._max_record_bytes:,}."
            )
        event = self._codec.decode_event(modality, value)
        _check_contents(event)
        ahead_ms = event.event_time_ms - arrived.timestamp_ms
        if ahead_ms > self._max_skew_ms:
            raise ClockSkew(
                f"Its event time is {ahead_ms:,} ms ahead of the broker's clock, and join.max_skew_ms is "
                f"{self._max_skew_ms:,}: set the producer's clock."
            )
        return known_key, event

    def _checked_key(self, key: bytes | None, partition: int) -> bytes:
        if not key:
            raise Invalid("It has no message key: the key is what events are joined by.")
        if len(key) > MAX_KEY_BYTES:
            raise Invalid(f"Its message key has {len(key):,} bytes, and {MAX_KEY_BYTES} are allowed.")
        try:
            key.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Invalid(f"Its message key is not UTF-8 (byte {error.start}).") from error
        expected = partition_of(key, self._partitions)
        if expected != partition:
            raise Misrouted(
                f"It is in partition {partition}, and its key belongs in {expected}: use the partitioner "
                "murmur2_random, Java's default."
            )
        return key


def _check_contents(event: Event) -> None:
    """Refuses what needs no decoding of media to be seen; the bundle's input spec decides on the rest."""
    if event.event_time_ms < 0:
        raise Invalid(f"Its event time {event.event_time_ms} is before 1970.")
    match event:
        case SpeechEvent():
            size, what = len(event.audio), "audio"
        case SensorEvent():
            size, what = len(event.values), "values"
            width = FLOAT32_BYTES * len(event.channels)
            if width == 0 or size % width:
                raise Invalid(f"Its {size} bytes of values are not frames of {len(event.channels)} float32 channels.")
        case _:
            size, what = len(event.image), "image"
    if size == 0:
        raise Invalid(f"Its {what} is empty.")
