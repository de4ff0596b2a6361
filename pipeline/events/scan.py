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
from pipeline.events.codec import EVENT_SCHEMAS, SINGLE_OBJECT_MARKER
from pipeline.events.records import ImageEncoding, Modality, SpeechEncoding

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_HEAD_BYTES = 160
"""As much of each record is looked at: its header and all fields before the media."""
_WORD_BYTES = 8
"""A number with more digits of seven bits is not read: a time would be beyond the year one million."""
_MOST_CHANNELS = 16
_FLOAT32_BYTES = 4
_ONE = np.uint64(1)
_MORE = 0x80
_MORE_OF_WORD = np.uint64(0x8080_8080_8080_8080)
# Digits of 7, 14 and 28 bits, every second of them, each in a field of twice its bits with room to move down into.
_DIGITS = [np.uint64(mask) for mask in (0x007F_007F_007F_007F, 0x0000_3FFF_0000_3FFF, 0x0000_0000_0FFF_FFFF)]
_HEADERS = {modality: SINGLE_OBJECT_MARKER + schemas.fingerprint(name) for modality, name in EVENT_SCHEMAS.items()}


class Scan(NamedTuple):
    """What was found, one element a record.

    Attributes:
        ok: whether it is an event of today's schema, complete, with media that are not empty.
        event_time_ms: its time; it means something only where `ok` is true.
        size_bytes: of the value.
    """

    ok: Flags
    event_time_ms: Integers
    size_bytes: Integers


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
    return Scan(reader.ends_after(media_bytes), event_time_ms, reader.lengths)


class _Reader:
    """Reads one field of all records after the other. What a broken record yields does not matter: it is not ok."""

    def __init__(self, values: Sequence[bytes]) -> None:
        self.lengths = np.fromiter(map(len, values), np.int64, len(values))
        ends = np.minimum(self.lengths, _HEAD_BYTES).cumsum()
        self._begins = np.concatenate(([0], ends[:-1])) if len(values) else ends
        heads = b"".join([*(value[:_HEAD_BYTES] for value in values), bytes(2 * _HEAD_BYTES)])
        self._bytes = np.frombuffer(heads, np.uint8)
        self._words = np.ndarray(len(heads) - _WORD_BYTES + 1, "<u8", heads, strides=1)  # one from every byte on
        self._ok: Flags = np.ones(len(values), np.bool_)
        self.at: Integers = np.zeros(len(values), np.int64)

    def expect(self, header: bytes) -> None:
        """The records begin with these bytes, at least eight."""
        for place in (0, len(header) - _WORD_BYTES):
            expected = int.from_bytes(header[place : place + _WORD_BYTES], "little")
            self.require(self._words[self._begins + place] == expected)
        self.at += len(header)

    def varint(self) -> Integers:
        """Reads an Avro int, long, length or enum: zigzag, seven bits a byte, lowest first."""
        here = self._begins + self.at
        raw = self._bytes[here].astype(np.int64)
        if (raw < _MORE).all():
            self.at = self.at + 1  # a new array, as in the other case: `texts` keeps the one from before
        else:
            raw = self._long_varint(self._words[here])
        return (raw >> 1) ^ -(raw & 1)

    def _long_varint(self, words: npt.NDArray[np.uint64]) -> Integers:
        """Returns the numbers that these words begin with, and goes past them. All at once, however long each is."""
        lasts = ~words & _MORE_OF_WORD
        first_last = lasts & (~lasts + _ONE)
        within = first_last - _ONE
        self.require(lasts > 0)
        self.at = self.at + (np.bitwise_count(within) + 1 >> 3)
        digits = words & within & ~_MORE_OF_WORD
        for bits, mask in zip((1, 2, 4), _DIGITS, strict=True):
            digits = (digits & mask) | (digits >> np.uint64(bits) & mask << np.uint64(7 * bits))
        return digits.astype(np.int64)

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
        self.require((self.at <= _HEAD_BYTES) & (self.at + count == self.lengths))
        return self._ok
