"""Reads the servers' log files."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

_POLL_S = 0.2


def _pause() -> None:
    time.sleep(_POLL_S)


def tail(file: Path, lines: int, start: int = 0) -> list[str]:
    """Returns the last lines of a log, or none when there is no such file.

    Args:
        file: The log.
        lines: How many at most.
        start: Bytes at the front to leave out.
    """
    try:
        with file.open("rb") as stream:
            stream.seek(start)
            last = deque(stream, maxlen=lines)
    except FileNotFoundError:
        return []
    return [line.decode(errors="replace").rstrip("\n") for line in last]


def follow(files: Mapping[str, Path], pause: Callable[[], None] = _pause) -> Iterator[tuple[str, str]]:
    """Yields (name, line) for every line that is appended from now on, for ever.

    Args:
        files: The logs by name; one that does not exist yet is read from its front when it comes.
        pause: Is called between two looks.
    """
    ends = {name: _size(file) for name, file in files.items()}
    while True:
        for name, file in files.items():
            if _size(file) < ends[name]:
                ends[name] = 0  # begun afresh
            for line in _whole_lines(file, ends[name]):
                ends[name] += len(line)
                yield name, line.decode(errors="replace").rstrip("\n")
        pause()


def _whole_lines(file: Path, start: int) -> list[bytes]:
    if _size(file) <= start:
        return []
    with file.open("rb") as stream:
        stream.seek(start)
        return [line for line in stream if line.endswith(b"\n")]


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
