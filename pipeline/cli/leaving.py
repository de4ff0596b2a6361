"""How a command that starts processes leaves when it is told to: the way Ctrl-C does, ending what it started."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from rich.console import Console


@contextmanager
def unwound_by_signals(*consoles: Console) -> Iterator[None]:
    """Makes SIGTERM and SIGHUP raise SystemExit with 128 + their number; those that are ignored (nohup) stay so.

    Args:
        consoles: are silent after SIGHUP: their terminal is gone, and writing to it would raise.
    """

    def leave(number: int, _: FrameType | None) -> NoReturn:
        for console in consoles:
            console.quiet = console.quiet or number == signal.SIGHUP
        sys.exit(128 + number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    heeded = [number for number, handler in before.items() if handler != signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])
