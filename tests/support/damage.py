"""Offset maps that have been damaged on their way."""

import base64

from pipeline.join.offset_map import PREFIX

_CHECKSUM = 1  # the byte after the version


def damaged(text: str) -> str:
    """Returns a map with one bit of its checksum changed."""
    raw = bytearray(base64.b85decode(text.removeprefix(PREFIX)))
    raw[_CHECKSUM] ^= 1
    return PREFIX + base64.b85encode(raw).decode("ascii")
