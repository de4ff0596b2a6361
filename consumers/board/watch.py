"""Looks at the lanes again and again, and so learns whether a broker answers at all."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from consumers.board.feed import Publish
from consumers.board.lanes import LanesView
from pipeline.kafka.errors import KafkaFailure
from pipeline.telemetry.clock import wall_ms
from pipeline.telemetry.logs import logger

EVERY_S = 1.5
LOOKS_KEPT = 60
_log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """Whether a broker answers; `since_ms` is when that began, milliseconds since the epoch, `problem` a sentence."""

    up: bool
    since_ms: int
    problem: str = ""


class Watch:
    """Tells the lanes, and the connection whenever it changes.

    Args:
        look: asks the broker.
        say: is told.
        clock_ms: the wall clock.
    """

    def __init__(self, look: Callable[[], LanesView], say: Publish, clock_ms: Callable[[], int] = wall_ms) -> None:
        self._look = look
        self._say = say
        self._clock_ms = clock_ms
        self._history: deque[int] = deque(maxlen=LOOKS_KEPT)
        self._connection: Connection | None = None

    def run(self, stop: threading.Event) -> None:
        """Looks until `stop` is set."""
        while not stop.is_set():
            self.step()
            stop.wait(EVERY_S)

    def step(self) -> None:
        """Looks once."""
        began_ms = self._clock_ms()
        try:
            lanes = self._look()
        except KafkaFailure as error:
            self._note(Connection(up=False, since_ms=began_ms, problem=str(error)))
        else:
            self._history.append(lanes.behind)
            self._say("lanes", replace(lanes, history=tuple(self._history)))
            self._note(Connection(up=True, since_ms=self._clock_ms()))

    def _note(self, now: Connection) -> None:
        if self._connection is None or self._connection.up != now.up:
            self._connection = now
            self._say("connection", now)
            if now.problem:
                _log.warning("no connection to the broker", problem=now.problem)
