"""Ends the process when a call that cannot be interrupted does not come back.

`send_offsets_to_transaction` was seen to hang far beyond its timeout, inside the client, after brokers were killed;
a GPU driver can hang too. Exactly-once makes it safe to end the process: the supervisor starts it again.
"""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.telemetry.logs import logger

EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h
_log = logger(__name__)


def end_process(doing: str, after_s: float) -> None:
    """Says so in the log, prints the stacks of all threads and ends the process at once."""
    _log.critical("watchdog ends this process", doing=doing, not_back_for_s=round(after_s))
    sys.stderr.flush()
    faulthandler.dump_traceback(file=sys.__stderr__ or 2, all_threads=True)
    os._exit(EXIT_CODE)


class Watchdog:
    """Watches one call at a time, from one thread of its own.

    Args:
        limit_s: how long a call may take.
        expired: called with what was being done and the limit; the default ends the process.
    """

    def __init__(self, limit_s: float, expired: Callable[[str, float], None] = end_process) -> None:
        self._limit_s = limit_s
        self._expired = expired
        self._current: tuple[str, float] | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def watching(self, doing: str) -> Iterator[None]:
        """Watches the body of a `with`."""
        self._current = (doing, time.monotonic() + self._limit_s)
        try:
            yield
        finally:
            self._current = None

    def close(self) -> None:
        """Stops watching."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(min(1.0, self._limit_s / 4)):
            current = self._current
            if current is not None and time.monotonic() > current[1]:
                self._expired(current[0], self._limit_s)
                return
