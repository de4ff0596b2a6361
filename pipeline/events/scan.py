"""The times of many encoded events, found for all of them at once.

The join needs no more of an event than its time; a dictionary of each record is what costs. Here the headers of a batch
of records lie in one array, and each Avro field is read of all records in a few array calls.

Only what is most common is read this way: today's schema in single-object encoding, with a short `source`. All other
records, and whatever looks wrong, are left to `pipeline.events.codec`, which reads everything and says what is amiss.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import schemas
from pipeline.events.codec import EVENT_SCHEMAS, SINGLE_OBJECT_HEADER_BYTES, SINGLE_OBJECT_MARKER
from pipeline.events.records import ImageEncoding, Modality, SpeechEncoding

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_HEAD_BYTES = 160
"""As much of each record is looked at: its header and all fields before the media."""
_LONGEST_VARINT = 10
_MOST_CHANNELS = 16
_FLOAT32_BYTES = 4
_HEADERS = {
    modality: np.frombuffer(SINGLE_OBJECT_MARKER + schemas.fingerprint(name), np.uint8)
    for modality, name in EVENT_SCHEMAS.items()
}


class Scan(NamedTuple):
    """What was found, one element a record.

    Attributes:
        ok: whether it is an event of today's schema, complete, with media that are not empty.
        event_time_ms: its time; it means something only where `ok` is true.
    """

    ok: Flags
    event_time_ms: Integers


def scan(modality: Modality, values: Sequence[bytes]) -> Scan:
    """Finds the times of the encoded events of one topic. Pure.

    Args:
        modality: the topic's.
        values: message values, whatever they hold.
    """
    reader = _Reader(values)
    reader.expect(_HEADERS[modality])
    event_time_ms = reader.varint()
    reader.skip(reader.varint())  # source
    frame_bytes: Integers | None = None
    match modality:
        case Modality.SPEECH:
            reader.varint()  # sample_rate
            reader.below(reader.varint(), len(SpeechEncoding))
        case Modality.IMAGE:
            reader.below(reader.varint(), len(ImageEncoding))
        case Modality.SENSOR:
            reader.skip(_FLOAT32_BYTES)  # sample_rate
            frame_bytes = _FLOAT32_BYTES * reader.texts()
    media_bytes = reader.varint()
    reader.require((media_bytes > 0) & (event_time_ms >= 0))
    if frame_bytes is not None:
        reader.require(media_bytes % np.maximum(frame_bytes, 1) == 0)
    return Scan(reader.ends_after(media_bytes), event_time_ms)


class _Reader:
    """Reads one field of all records after the other. What a broken record yields does not matter: it is not ok."""

    def __init__(self, values: Sequence[bytes]) -> None:
        heads = [value[:_HEAD_BYTES] for value in values]
        self._lengths = np.fromiter(map(len, values), np.int64, len(values))
        ends = np.minimum(self._lengths, _HEAD_BYTES).cumsum()
        self._begins = np.concatenate(([0], ends[:-1])) if len(values) else ends
        padding = bytes(_HEAD_BYTES + _LONGEST_VARINT)
        self._heads = np.frombuffer(b"".join((*heads, padding)), np.uint8)
        self._ok: Flags = np.ones(len(values), np.bool_)
        self.at: Integers = np.zeros(len(values), np.int64)

    def expect(self, header: npt.NDArray[np.uint8]) -> None:
        """The records begin with these bytes."""
        found = self._heads[self._begins[:, None] + np.arange(SINGLE_OBJECT_HEADER_BYTES)]
        self.require((found == header).all(axis=1))
        self.at += SINGLE_OBJECT_HEADER_BYTES

    def varint(self) -> Integers:
        """Reads an Avro int, long, length or enum: zigzag, seven bits a byte, lowest first."""
        raw = np.zeros(len(self.at), np.uint64)
        more = self._ok.copy()
        for place in range(_LONGEST_VARINT):
            byte = self._heads[self._begins + self.at]
            raw |= np.where(more, byte & 0x7F, 0).astype(np.uint64) << np.uint64(7 * place)
            self.at += more
            more &= byte >= 0x80
            if not more.any():
                break
        self.require(~more)
        return (raw >> np.uint64(1)).astype(np.int64) ^ -(raw & np.uint64(1)).astype(np.int64)

    def skip(self, count: int | Integers) -> None:
        """Passes over so many bytes; the field after them must still be within the head."""
        after = self.at + count
        self.require((after >= self.at) & (after < _HEAD_BYTES))
        self.at = np.where(self._ok, after, 0)

    def texts(self) -> Integers:
        """Passes over an array of strings that was written as one block; returns how many there are."""
        count = self.varint()
        self.require((count > 0) & (count <= _MOST_CHANNELS))
        everyone = self._ok
        for place in range(int(count.max(initial=0, where=self._ok))):
            self._ok = everyone & (place < count)
            before = self.at
            self.skip(self.varint())
            done = everyone & (place >= count)
            self.at = np.where(done, before, self.at)
            everyone = self._ok | done
        self._ok = everyone
        self.below(self.varint(), 1)  # no further block
        return count

    def below(self, value: Integers, limit: int) -> None:
        """The value is one of 0..limit-1."""
        self.require((value >= 0) & (value < limit))

    def require(self, condition: Flags) -> None:
        """Records of which this is not true are not ok."""
        self._ok = self._ok & condition

    def ends_after(self, count: Integers) -> Flags:
        """Returns which records are ok and end exactly so many bytes later."""
        self.require((self.at <= _HEAD_BYTES) & (self.at + count == self._lengths))
        return self._ok
