"""Offset maps that have been damaged on their way."""

from pipeline.join.offset_map import PREFIX

_CHANGED = len(PREFIX) + 9


def damaged(text: str) -> str:
    """Returns a map with one character changed, the last of base85's second group: its checksum is then wrong.

    The first group holds the version, which a borrow could change; of the last one there are several spellings.
    """
    return text[:_CHANGED] + ("1" if text[_CHANGED] == "0" else "0") + text[_CHANGED + 1 :]
