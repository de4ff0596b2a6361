"""The checks that a source record must pass before it is joined."""

from collections.abc import Sequence
from itertools import repeat
from operator import attrgetter
from typing import NamedTuple, Protocol

import numpy as np

from pipeline.events.codec import Codec
from pipeline.events.errors import Invalid, RecordError, TooLarge, Undecodable
from pipeline.events.records import Event, Modality, Reason, SensorEvent, SpeechEvent
from pipeline.events.rows import row_maker
from pipeline.events.scan import Flags, scan
from pipeline.join.outcomes import Record
from pipeline.join.partitioner import partition_of, partitions_of

MAX_KEY_BYTES = 256
_OFFSET = attrgetter("offset")
_TIMESTAMP = attrgetter("timestamp_ms")
_record = row_maker(Record)
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
    def offset(self) -> int: ...  # noqa: D102
    @property
    def timestamp_ms(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102


class Inspected(NamedTuple):
    """What can be joined, and what cannot, each with what is wrong with it; the payload is what arrived."""

    records: list[Record]
    refused: list[tuple[Record, RecordError]]


class Inspector:
    """Reads and checks source records, and refuses what is outside the contract. Pure.

    Of ordinary records only the time is decoded, of all at once (`pipeline.events.scan`); each of the others is
    decoded in full, to say what is wrong with it.

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

    def inspect(self, modality: Modality, partition: int, arrived: Sequence[Delivered]) -> Inspected:
        """Returns the records of one partition that can be joined, and why the others cannot, in their order."""
        keys = [one.key or b"" for one in arrived]
        values = [one.value or b"" for one in arrived]
        found = scan(modality, values)
        timestamps_ms = np.fromiter(map(_TIMESTAMP, arrived), np.int64, len(arrived))
        in_time = found.event_time_ms - timestamps_ms <= self._max_skew_ms
        ordinary = found.ok & in_time & self._in_contract(partition, keys, values)
        offsets, times, sizes = map(_OFFSET, arrived), found.event_time_ms.tolist(), map(len, values)
        rows = zip(repeat(modality), offsets, keys, times, arrived, sizes, found.media_at.tolist(), strict=False)
        records = list(map(_record, rows))
        if ordinary.all():
            return Inspected(records, [])
        inspected = Inspected([], [])
        for record, is_ordinary in zip(records, ordinary.tolist(), strict=True):
            if is_ordinary:
                inspected.records.append(record)
                continue
            try:
                inspected.records.append(self._checked(partition, record))
            except RecordError as error:
                inspected.refused.append((record, error))
        return inspected

    def _in_contract(self, partition: int, keys: Sequence[bytes], values: Sequence[bytes]) -> Flags:
        """Returns which records have an ASCII key that belongs in the partition, and a value of an allowed size."""
        count = len(keys)
        key_bytes = np.fromiter(map(len, keys), np.int64, count)
        plain = np.fromiter(map(bytes.isascii, keys), np.bool_, count) & (key_bytes > 0) & (key_bytes <= MAX_KEY_BYTES)
        small = np.fromiter(map(len, values), np.int64, count) <= self._max_record_bytes
        in_contract: Flags = plain & small & (partitions_of(keys, self._partitions) == partition)
        return in_contract

    def _checked(self, partition: int, record: Record) -> Record:
        """Returns a record that was looked at in full.

        Raises:
            RecordError: one of its kinds, with a sentence about what is wrong and what to do.
        """
        arrived: Delivered = record.payload
        self._check_key(arrived.key, partition)
        value = arrived.value
        if value is None:
            raise Undecodable("It has no value: publish an Avro record.")
        if len(value) > self._max_record_bytes:
            raise TooLarge(
                f"Its value has {len(value):,} bytes, and topics.max_record_bytes is {self._max_record_bytes:,}."
            )
        event = self._codec.decode_event(record.modality, value)
        _check_contents(event)
        ahead_ms = event.event_time_ms - arrived.timestamp_ms
        if ahead_ms > self._max_skew_ms:
            raise ClockSkew(
                f"Its event time is {ahead_ms:,} ms ahead of the broker's clock, and join.max_skew_ms is "
                f"{self._max_skew_ms:,}: set the producer's clock."
            )
        return record._replace(event_time_ms=event.event_time_ms, media_at=None)

    def _check_key(self, key: bytes | None, partition: int) -> None:
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
