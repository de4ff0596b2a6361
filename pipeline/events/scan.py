"""The times of many encoded events, found for all of them at once.

The join needs no more of an event than its time; a dictionary of each record is what costs. Here the headers of a batch
of records lie in one array, and each Avro field is read of all records in a few array calls. Of what is read live there
are few at a time, and then it is the calls that cost: so the three topics share those that they can.

Only what is most common is read this way: today's schema in single-object encoding, with a short `source`. All other
records, and whatever looks wrong, are left to `pipeline.events.codec`, which reads everything and says what is amiss.
"""

from collections.abc import Iterator, Sequence
from copy import copy
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
_DIGIT, _MORE = np.uint64(0x7F), np.uint64(0x80)
_MORE_OF_WORD = np.uint64(0x8080_8080_8080_8080)
# Digits of 7, 14 and 28 bits: every second of them, and how far and to where the others move down beside it.
_DIGITS = [
    (np.uint64(0x007F_007F_007F_007F), np.uint64(1), np.uint64(0x3F80_3F80_3F80_3F80)),
    (np.uint64(0x0000_3FFF_0000_3FFF), np.uint64(2), np.uint64(0x0FFF_C000_0FFF_C000)),
    (np.uint64(0x0000_0000_0FFF_FFFF), np.uint64(4), np.uint64(0x00FF_FFFF_F000_0000)),
]
_HEADERS = [SINGLE_OBJECT_MARKER + schemas.fingerprint(EVENT_SCHEMAS[modality]) for modality in Modality]
_HEADER_BYTES = len(_HEADERS[0])
_HEADER_WORDS = {
    place: np.array([int.from_bytes(header[place : place + _WORD_BYTES], "little") for header in _HEADERS], np.uint64)
    for place in (0, _HEADER_BYTES - _WORD_BYTES)
}


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


def scan(values: Sequence[bytes], counts: Sequence[int]) -> Scan:
    """Finds the times of encoded events. Pure.

    Args:
        values: message values, whatever they hold: those of the speech topic, then of images, then of sensors.
        counts: how many there are of each of these.
    """
    reader = _Reader(values)
    reader.expect_headers(counts)
    event_time_ms = reader.varint()
    reader.skip(reader.varint())  # source
    speech, images, sensors = reader.split(counts)
    speech.skip_varint()  # sample_rate
    speech.below(speech.varint(), len(SpeechEncoding))
    images.below(images.varint(), len(ImageEncoding))
    sensors.skip(_FLOAT32_BYTES)  # sample_rate
    frame_bytes = _FLOAT32_BYTES * sensors.texts()
    media_bytes = reader.varint()
    reader.require((media_bytes > 0) & (event_time_ms >= 0))
    sensors.require(media_bytes[len(values) - len(frame_bytes) :] % np.maximum(frame_bytes, 1) == 0)
    return Scan(reader.ends_after(media_bytes), event_time_ms, reader.lengths)


class _Reader:
    """Reads one field of all records after the other. What a broken record yields does not matter: it is not ok."""

    def __init__(self, values: Sequence[bytes]) -> None:
        self.lengths = np.fromiter(map(len, values), np.int64, len(values))
        heads = b"".join([*[value[:_HEAD_BYTES] for value in values], bytes(2 * _HEAD_BYTES)])
        self._words = np.ndarray(len(heads) - _WORD_BYTES + 1, "<u8", heads, strides=1)  # one from every byte on
        head_bytes = np.minimum(self.lengths, _HEAD_BYTES)
        self._begins = head_bytes.cumsum() - head_bytes
        self._at = self._begins.copy()
        self._ok: Flags = np.ones(len(values), np.bool_)

    def split(self, counts: Sequence[int]) -> Iterator["_Reader"]:
        """Yields readers of the first so many records, of the next, and so on: what they read, this one has read."""
        end = 0
        for count in counts:
            here = slice(end, end := end + count)
            part = copy(self)
            part.lengths, part._begins, part._at = self.lengths[here], self._begins[here], self._at[here]
            part._ok = self._ok[here]
            yield part

    def expect_headers(self, counts: Sequence[int]) -> None:
        """So many records begin with the header of the first schema, so many with that of the next, and so on."""
        for place, words in _HEADER_WORDS.items():
            self.require(self._words[self._at + place] == np.repeat(words, counts))
        self._at += _HEADER_BYTES

    def varint(self) -> Integers:
        """Reads an Avro int, long, length or enum: zigzag, seven bits a byte, lowest first."""
        digits = self._words[self._at]
        if (digits & _MORE).any():
            digits &= self._skip_varint(digits)
            for lower, shift, higher in _DIGITS:
                digits = (digits & lower) | (digits >> shift & higher)
        else:
            digits &= _DIGIT
            self._at += 1
        raw: Integers = digits.view(np.int64)
        return (raw >> 1) ^ -(raw & 1)

    def skip_varint(self) -> None:
        """Passes over a number."""
        self._skip_varint(self._words[self._at])

    def _skip_varint(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Passes over the numbers that these words begin with, however long each is; returns the bits they take."""
        lasts = ~words & _MORE_OF_WORD
        self.require(lasts > 0)
        within = (lasts & -lasts) - _ONE
        self._at += np.bitwise_count(within) + 1 >> 3
        return within

    def skip(self, count: int | Integers) -> None:
        """Passes over so many bytes; the field after them must still be within the head."""
        after = self._at + count
        self.require((after >= self._at) & (after < self._begins + _HEAD_BYTES))
        self._at[:] = np.where(self._ok, after, self._begins)

    def texts(self) -> Integers:
        """Passes over an array of strings that was written as one block; returns how many there are."""
        count = self.varint()
        self.require((count > 0) & (count <= _MOST_CHANNELS))
        for place in range(int(count.max(initial=0, where=self._ok))):
            is_through, before, were_ok = count <= place, self._at.copy(), self._ok.copy()
            self.require(~is_through)
            self.skip(self.varint())
            np.copyto(self._at, before, where=is_through)
            np.copyto(self._ok, were_ok, where=is_through)
        self.below(self.varint(), 1)  # no further block
        return count

    def below(self, value: Integers, limit: int) -> None:
        """The value is one of 0..limit-1."""
        self.require((value >= 0) & (value < limit))

    def require(self, condition: Flags) -> None:
        """Records of which this is not true are not ok."""
        self._ok &= condition

    def ends_after(self, count: Integers) -> Flags:
        """Returns which records are ok and end exactly so many bytes later."""
        at = self._at - self._begins
        self.require((at <= _HEAD_BYTES) & (at + count == self.lengths))
        return self._ok
