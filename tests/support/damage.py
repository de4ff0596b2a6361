"""Offset maps that have been damaged on their way."""

from pipeline.join.offset_map import PREFIX

_CHANGED = len(PREFIX) + 4


def damaged(text: str) -> str:
    """Returns a map with one character changed, the last of base85's first group: its checksum is another one.

    The end of a text will not do: base85's last group has several spellings.
    """
    return text[:_CHANGED] + ("1" if text[_CHANGED] == "0" else "0") + text[_CHANGED + 1 :]
