"""Any map round-trips; any changed character of its text decodes to the same map or is refused."""

import base64
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.join.offset_map import PREFIX, UnreadableMap, decode, encode
from pipeline.join.tracker import Position
from tests.support.damage import damaged

NO_LIMIT = 10**9
CHARACTERS = st.sampled_from(sorted({*map(chr, range(1, 128)), "\N{LATIN SMALL LETTER E WITH ACUTE}"}))


@st.composite
def positions(draw: Callable[..., object]) -> Position:
    start = draw(st.integers(0, 2**48))
    assert isinstance(start, int)
    gaps = draw(st.lists(st.integers(1, 50), max_size=300))
    assert isinstance(gaps, list)
    unfinished, offset = [], start
    for gap in gaps:
        unfinished.append(offset)
        offset += gap
    trailing = draw(st.integers(0, 30_000))
    assert isinstance(trailing, int)
    high = (unfinished[-1] + 1 if unfinished else start) + trailing
    low = unfinished[0] if unfinished else high
    lookback = draw(st.integers(0, low))
    assert isinstance(lookback, int)
    candidates = st.lists(st.integers(low - lookback, max(high - 1, low - lookback)), max_size=30)
    drawn = draw(candidates) if high > low - lookback else []
    assert isinstance(drawn, list)
    amendable = tuple(sorted(set(drawn) - set(unfinished)))
    return Position(low, high, tuple(unfinished), low - lookback, amendable)


@given(positions(), st.text(max_size=20), st.integers(0, 10_000))
def test_round_trip(position: Position, topic: str, partition: int) -> None:
    text = encode(position, topic, partition, NO_LIMIT)
    assert text.isascii()
    assert "\0" not in text
    assert decode(text, topic, partition, position.low) == position


@given(positions(), st.data())
def test_a_changed_character_is_noticed(position: Position, data: st.DataObject) -> None:
    text = encode(position, "speech", 1, NO_LIMIT)
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(CHARACTERS) + text[at + 1 :]
    try:
        assert decode(changed, "speech", 1, position.low) == position
    except UnreadableMap:
        assert changed != text


@given(positions(), st.data())
def test_a_cut_or_lengthened_text_is_noticed(position: Position, data: st.DataObject) -> None:
    text = encode(position, "speech", 1, NO_LIMIT)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    for changed in (cut, text + data.draw(CHARACTERS)):
        try:
            assert decode(changed, "speech", 1, position.low) == position
        except UnreadableMap:
            assert changed != text


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_or_a_position(raw: bytes) -> None:
    text = PREFIX + base64.b85encode(raw).decode()
    with suppress(UnreadableMap):
        assert decode(text, "speech", 1, 7).low == 7


@given(positions())
def test_what_tests_call_damaged_is_always_refused(position: Position) -> None:
    with pytest.raises(UnreadableMap, match=r"damaged"):
        decode(damaged(encode(position, "speech", 1, NO_LIMIT)), "speech", 1, position.low)
