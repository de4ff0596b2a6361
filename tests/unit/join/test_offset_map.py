"""The text of an offset map: what fits, and what is refused."""

import base64
import random
import zlib
from dataclasses import replace

import pytest

from pipeline.join.offset_map import (
    MAX_CHARACTERS,
    PREFIX,
    VERSION,
    MapTooLarge,
    UnreadableMap,
    decode,
    encode,
    offsets_that_fit,
    size,
)
from pipeline.join.tracker import Position

POSITION = Position(low=1_000, high=1_200, unfinished=(1_000, 1_007, 1_150), replay_from=900, amendable=(905, 1_001))


def test_the_text_is_fixed() -> None:
    text = encode(POSITION, "speech", 3)
    assert decode("tm1:0*qz=4FPzZJHeR3#G25^fDRl0E}a5a", "speech", 3, 1_000) == POSITION
    assert text.startswith("tm1:")
    assert text.isascii()
    assert "\0" not in text


@pytest.mark.parametrize(
    ("topic", "partition", "offset"), [("image", 3, 1_000), ("speech", 4, 1_000), ("speech", 3, 1_001)]
)
def test_a_map_of_another_place_is_refused(topic: str, partition: int, offset: int) -> None:
    with pytest.raises(UnreadableMap, match="checksum"):
        decode(encode(POSITION, "speech", 3), topic, partition, offset)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not an offset map"),
        ("consumer-1 was here", "is not an offset map"),
        ("tm1:", "too short"),
        ("tm1:\N{SNOWMAN}", "damaged"),
        ("tm1:12 45", "damaged"),
    ],
)
def test_what_is_no_map_says_what_to_do(text: str, problem: str) -> None:
    with pytest.raises(UnreadableMap, match=problem) as caught:
        decode(text, "speech", 3, 1_000)
    assert "speech[3] at offset 1000" in str(caught.value)
    assert "trimodal offsets reset" in str(caught.value)


def test_a_newer_map_is_refused_by_its_version() -> None:
    raw = bytearray(base64.b85decode(encode(POSITION, "speech", 3)[len(PREFIX) :]))
    raw[0] = 3
    with pytest.raises(UnreadableMap, match="version 3"):
        decode(PREFIX + base64.b85encode(bytes(raw)).decode(), "speech", 3, 1_000)


def test_26_000_offsets_always_fit() -> None:
    rng = random.Random(1)
    unfinished = (0, *sorted(rng.sample(range(1, 25_999), 13_000)))
    text = encode(Position(0, 26_000, unfinished, 0), "speech", 0)
    assert 3_900 < len(text) <= MAX_CHARACTERS
    assert decode(text, "speech", 0, 0).unfinished == unfinished


@pytest.mark.parametrize("characters", [255, 1_023, MAX_CHARACTERS])
def test_what_is_said_to_fit_fits(characters: int) -> None:
    span = offsets_that_fit(characters)
    rng = random.Random(1)
    position = Position(2**40, 2**40 + span, (2**40, *sorted(rng.sample(range(2**40 + 1, 2**40 + span), span // 2))), 0)
    assert characters - 30 <= len(encode(position, "speech", 0, characters)) <= characters


def test_a_map_that_does_not_fit_says_what_to_do() -> None:
    with pytest.raises(MapTooLarge, match=r"speech\[0\].*3 of the 200 records.*more partitions"):
        encode(POSITION, "speech", 0, limit=20)


def test_the_size_is_known_whether_it_fits_or_not() -> None:
    without = replace(POSITION, amendable=())
    assert size(POSITION, "speech", 3) == len(encode(without, "speech", 3)) < len(encode(POSITION, "speech", 3))


def packed(packing: int, body: bytes) -> str:
    """Returns a map of speech[3] at 1,000 with this body, its checksum right, packed in some way."""
    checksum = zlib.crc32(body, zlib.crc32(b"speech\0003\0001000\0"))
    content = zlib.compress(body) + b"more" if packing == 1 else body
    raw = bytes([VERSION]) + checksum.to_bytes(4, "big") + bytes([packing]) + content
    return PREFIX + base64.b85encode(raw).decode()


@pytest.mark.parametrize(
    ("packing", "problem"), [(2, "its packing 2 is unknown"), (1, "compressed body does not end where it should")]
)
def test_a_body_that_is_packed_otherwise_is_refused(packing: int, problem: str) -> None:
    body = bytes([0, 0, 0])
    assert decode(packed(0, body), "speech", 3, 1_000) == Position.at(1_000)
    with pytest.raises(UnreadableMap, match=problem):
        decode(packed(packing, body), "speech", 3, 1_000)
