"""The text that travels in a commit's metadata: which offsets above the committed one are unfinished.

Layout, after the prefix ``tm1:``, in base85::

    version  1 byte    2
    crc32    4 bytes   big-endian, of topic, partition, committed offset and the body before compression
    packing  1 byte    0 plain, 1 zlib
    body     varint high - low, varint low - replay_from,
             varint number of amendable offsets, varint gap before each, the first from replay_from,
             bitmap from low: bit set = unfinished

Maps are compared decoded, never as texts: base85's last group has several spellings. Kafka's limit is
`offset.metadata.max.bytes`, 4,096 by default, with the NUL that the client appends.
"""

import base64
import zlib
from dataclasses import replace

import numpy as np

from pipeline.join.tracker import Position

PREFIX = "tm1:"
VERSION = 2
MAX_CHARACTERS = 4_095
_PLAIN, _ZLIB = 0, 1
_HEADER_BYTES = 6
_COUNTS_BYTES = 16  # three varints: the span of a map is below 2**35, its lookback below 2**63
_MAX_BODY_BYTES = 64 * 2**20


class UnreadableMap(Exception):
    """The metadata of a commit is not a map of ours. The message says what it is and what to do."""


class MapTooLarge(Exception):
    """The map does not fit into a commit's metadata."""


def offsets_that_fit(characters: int) -> int:
    """Returns how many offsets above the low mark always fit into so many characters, however little they compress."""
    return 8 * ((characters - len(PREFIX)) * 4 // 5 - _HEADER_BYTES - _COUNTS_BYTES)


def encode(position: Position, topic: str, partition: int, limit: int = MAX_CHARACTERS) -> str:
    """Returns the metadata to commit at offset `position.low`.

    Raises:
        MapTooLarge: it has more than `limit` characters. Sent all the same, it would abort every transaction.
    """
    text = _encoded(position, topic, partition)
    if len(text) > limit:
        raise MapTooLarge(
            f"The offset map of {topic}[{partition}] has {len(text)} characters, and {limit} fit: "
            f"{len(position.unfinished)} of the {position.high - position.low} records from offset {position.low} "
            "are unfinished. Use more partitions or a shorter join.window_ms."
        )
    return text


def size(position: Position, topic: str, partition: int) -> int:
    """Returns how many characters the map has without the amendable, which can be given up; it may not fit."""
    return len(_encoded(replace(position, amendable=()), topic, partition))


def decode(text: str, topic: str, partition: int, offset: int) -> Position:
    """Returns the position that was committed at `offset` with this metadata.

    Raises:
        UnreadableMap: it is foreign, damaged, newer than this program, or of another partition or offset.
    """
    where = f"The metadata committed for {topic}[{partition}] at offset {offset}"
    way_out = "Look at it with `trimodal offsets show`, and start over with `trimodal offsets reset`."
    if not text.startswith(PREFIX):
        raise UnreadableMap(f"{where} is not an offset map (it starts with {text[:12]!r}). {way_out}")
    try:
        raw = base64.b85decode(text[len(PREFIX) :])
    except ValueError as error:
        raise UnreadableMap(f"{where} is damaged ({error}). {way_out}") from error
    if len(raw) < _HEADER_BYTES:
        raise UnreadableMap(f"{where} is damaged (it is too short). {way_out}")
    if raw[0] != VERSION:
        raise UnreadableMap(f"{where} is of version {raw[0]}, and this program reads {VERSION}: upgrade it. {way_out}")
    try:
        body = _unpack(raw[5], raw[_HEADER_BYTES:])
        if _checksum(topic, partition, offset, body) != int.from_bytes(raw[1:5], "big"):
            raise ValueError("its checksum is wrong")
        return _position(offset, body)
    except (ValueError, zlib.error, IndexError) as error:
        raise UnreadableMap(f"{where} is damaged ({error}). {way_out}") from error


def _encoded(position: Position, topic: str, partition: int) -> str:
    body = _varint(position.high - position.low) + _varint(position.low - position.replay_from)
    body += _gaps(position) + _bitmap(position)
    packed = zlib.compress(body, 6)
    packing, content = (_ZLIB, packed) if len(packed) < len(body) else (_PLAIN, body)
    checksum = _checksum(topic, partition, position.low, body).to_bytes(4, "big")
    return PREFIX + base64.b85encode(bytes([VERSION]) + checksum + bytes([packing]) + content).decode("ascii")


def _checksum(topic: str, partition: int, offset: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(f"{topic}\0{partition}\0{offset}\0".encode()))


def _gaps(position: Position) -> bytes:
    before = (position.replay_from, *position.amendable)
    gaps = (offset - last for last, offset in zip(before, position.amendable, strict=False))
    return _varint(len(position.amendable)) + b"".join(map(_varint, gaps))


def _bitmap(position: Position) -> bytes:
    """Returns one bit an offset from `low` to the highest unfinished one, lowest bit first."""
    if not position.unfinished:
        return b""
    places = np.array(position.unfinished) - position.low
    bits = np.zeros(places[-1] + 1, dtype=np.uint8)
    bits[places] = 1
    return np.packbits(bits, bitorder="little").tobytes()


def _unpack(packing: int, content: bytes) -> bytes:
    if packing == _PLAIN:
        return content
    if packing != _ZLIB:
        raise ValueError(f"its packing {packing} is unknown")
    inflater = zlib.decompressobj()
    body = inflater.decompress(content, _MAX_BODY_BYTES)
    if not inflater.eof or inflater.unused_data:
        raise ValueError("its compressed body does not end where it should")
    return body


def _position(low: int, body: bytes) -> Position:
    span, at = _read_varint(body, 0)
    lookback, at = _read_varint(body, at)
    amendable_count, at = _read_varint(body, at)
    amendable, last = [], low - lookback
    for _ in range(amendable_count):
        gap, at = _read_varint(body, at)
        last += gap
        amendable.append(last)
    bits = np.unpackbits(np.frombuffer(body, np.uint8, offset=at), bitorder="little")
    unfinished = tuple((np.flatnonzero(bits) + low).tolist())
    return Position(low, low + span, unfinished, low - lookback, tuple(amendable))


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = body[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
