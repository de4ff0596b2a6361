"""What a key may be."""

import pytest

from producers.errors import InvalidInput
from producers.publisher import checked_key


@pytest.mark.parametrize(
    ("key", "raw"), [("a", b"a"), (b"a", b"a"), ("Ziffer-ä", "Ziffer-ä".encode()), ("k" * 256, b"k" * 256)]
)
def test_keys_travel_as_utf8(key: str | bytes, raw: bytes) -> None:
    assert checked_key(key) == raw


@pytest.mark.parametrize(
    ("key", "wrong"),
    [("", "0 bytes"), ("k" * 257, "257 bytes"), ("ä" * 129, "258 bytes"), (b"\xff", "UTF-8"), ("\ud800", "UTF-8")],
)
def test_other_keys_are_refused(key: str | bytes, wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        checked_key(key)
