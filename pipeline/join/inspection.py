"""The checks that a source record must pass before it is joined."""

from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

import numpy as np

from pipeline.events.codec import Codec
from pipeline.events.errors import Invalid, RecordError, TooLarge, Undecodable
from pipeline.events.records import Event, Headers, Modality, Reason, SensorEvent, SpeechEvent
from pipeline.events.rows import row_maker
from pipeline.events.scan import Flags, scan
from pipeline.join.outcomes import Record
from pipeline.join.partitioner import partition_of, partitions_of

MAX_KEY_BYTES = 256
_record = row_maker(Record)
FLOAT32_BYTES = 4
FEW = 24
"""So many records are decoded in full in the time that the array calls take, however few there are."""


class Misrouted(RecordError):
    """The record is not in the partition that its key belongs to, so it would never meet the others of its key."""

    reason = Reason.MISROUTED


class ClockSkew(RecordError):
    """The record's event time is too far ahead of the broker's clock; it must not move the watermark."""

    reason = Reason.CLOCK_SKEW


class Delivered(Protocol):
    """Records of one partition, an entry for each in every column, or none in `headers`. Timestamps: the broker's."""

    @property
    def where(self) -> tuple[str, int]: ...  # noqa: D102
    @property
    def offsets(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def timestamps_ms(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def keys(self) -> Sequence[bytes | None]: ...  # noqa: D102
    @property
    def values(self) -> Sequence[bytes | None]: ...  # noqa: D102
    @property
    def headers(self) -> Sequence[Headers]: ...  # noqa: D102


class Inspected(NamedTuple):
    """What of a delivery can be joined, and the places in it of what cannot, each with what is wrong."""

    records: list[Record]
    refused: list[tuple[int, RecordError]]


class Inspector:
    """Reads and checks source records, and refuses what is outside the contract. Pure.

    Of ordinary records only the time is decoded, of all at once (`pipeline.events.scan`). Each of the others is
    decoded in full, to say what is wrong with it; so is each where there are few.

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

    def inspect(self, arrived: Sequence[tuple[Modality, Delivered]]) -> list[Inspected]:
        """Returns of each delivery the records that can be joined, and why the others cannot, in their order.

        Args:
            arrived: deliveries of any partitions and their modalities, in the order of these; a few array calls look
                at all of them.
        """
        columns = _Columns(arrived)
        ordinary, times_ms = self._scanned(columns)
        records = list(map(_record, columns.rows(times_ms)))
        inspected, start = [], 0
        for (_, delivery), count in zip(arrived, columns.counts, strict=True):
            here = slice(start, start + count)
            start += count
            if ordinary[here].all():
                inspected.append(Inspected(records[here], []))
            else:
                inspected.append(self._one_by_one(delivery, records[here], ordinary[here].tolist()))
        return inspected

    def _scanned(self, columns: "_Columns") -> tuple[Flags, Sequence[int]]:
        """Returns which records are ordinary, and their event times."""
        count = len(columns.values)
        if count < FEW:
            return np.zeros(count, np.bool_), [0] * count
        found = scan(columns.values, columns.of_modalities())
        in_time = found.event_time_ms - columns.timestamps_ms <= self._max_skew_ms
        small = found.size_bytes <= self._max_record_bytes
        return found.ok & in_time & small & self._has_good_key(columns), found.event_time_ms.tolist()

    def _has_good_key(self, columns: "_Columns") -> Flags:
        """Returns which records have an ASCII key of an allowed size that belongs in the partition."""
        count, keys = len(columns.keys), columns.keys
        key_bytes = np.fromiter(map(len, keys), np.int64, count)
        good: Flags = (key_bytes > 0) & (key_bytes <= MAX_KEY_BYTES)
        if not b"".join(keys).isascii():
            good &= np.fromiter(map(bytes.isascii, keys), np.bool_, count)
        good &= partitions_of(keys, self._partitions) == columns.partitions
        return good

    def _one_by_one(self, delivery: Delivered, records: Sequence[Record], ordinary: Sequence[bool]) -> Inspected:
        inspected = Inspected([], [])
        for place, (record, is_ordinary) in enumerate(zip(records, ordinary, strict=True)):
            try:
                inspected.records.append(record if is_ordinary else self._checked(delivery, place, record))
            except RecordError as error:
                inspected.refused.append((place, error))
        return inspected

    def _checked(self, delivery: Delivered, place: int, record: Record) -> Record:
        """Returns a record that was looked at in full.

        Raises:
            RecordError: one of its kinds, with a sentence about what is wrong and what to do.
        """
        _, partition = delivery.where
        self._check_key(delivery.keys[place], partition)
        value = delivery.values[place]
        if value is None:
            raise Undecodable("It has no value: publish an Avro record.")
        if len(value) > self._max_record_bytes:
            raise TooLarge(
                f"Its value has {len(value):,} bytes, and topics.max_record_bytes is {self._max_record_bytes:,}."
            )
        event = self._codec.decode_event(record.modality, value)
        _check_contents(event)
        ahead_ms = event.event_time_ms - record.timestamp_ms
        if ahead_ms > self._max_skew_ms:
            raise ClockSkew(
                f"Its event time is {ahead_ms:,} ms ahead of the broker's clock, and join.max_skew_ms is "
                f"{self._max_skew_ms:,}: set the producer's clock."
            )
        return record._replace(event_time_ms=event.event_time_ms)

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


class _Columns:
    """Deliveries one after the other; what has no key or no value has an empty one here."""

    def __init__(self, arrived: Sequence[tuple[Modality, Delivered]]) -> None:
        self._modalities = [modality for modality, _ in arrived]
        self._deliveries = [delivery for _, delivery in arrived]
        self.counts = [len(delivery.offsets) for delivery in self._deliveries]
        self.partitions = np.repeat([delivery.where[1] for delivery in self._deliveries], self.counts)
        self.timestamps_ms = np.fromiter(self._all("timestamps_ms"), np.int64, sum(self.counts))
        self.keys: list[bytes] = [key or b"" for key in self._all("keys")]
        self.values: list[bytes] = [value or b"" for value in self._all("values")]

    def of_modalities(self) -> list[int]:
        """Returns how many records there are of each modality."""
        counts = dict.fromkeys(Modality, 0)
        for modality, count in zip(self._modalities, self.counts, strict=True):
            counts[modality] += count
        return list(counts.values())

    def rows(self, event_times_ms: Iterable[int]) -> Iterable[tuple[object, ...]]:
        """Yields the fields of a `Record` of each."""
        headers = chain.from_iterable(
            delivery.headers or repeat((), count) for delivery, count in zip(self._deliveries, self.counts, strict=True)
        )
        return zip(
            self._repeated(self._modalities),
            self._all("offsets"),
            self.keys,
            event_times_ms,
            self.values,
            self._all("timestamps_ms"),
            headers,
            self._repeated([delivery.where for delivery in self._deliveries]),
            strict=False,
        )

    def _all(self, column: str) -> Iterable[Any]:
        return chain.from_iterable(map(attrgetter(column), self._deliveries))

    def _repeated(self, each: Sequence[object]) -> Iterable[object]:
        return chain.from_iterable(map(repeat, each, self.counts))


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
