"""`tests.bench.pipeline_loop`, in which metrics or spans are on and off by turns. It says how much came of each turn.

`BENCH_SWITCH` names what is switched: `metrics`, which are fetched every second of a turn with them, or `spans`.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumers.fusion import FusionConsumer
from consumers.outputs import Moment
from consumers.vitals import Vitals
from pipeline.events.records import Modality, Reason
from pipeline.kafka.contract import Delivery
from pipeline.model.contract import Probabilities
from pipeline.settings import load
from pipeline.telemetry import logs
from pipeline.telemetry.health import Health
from pipeline.telemetry.serving import serve
from pipeline.telemetry.tracing import PassedOn, tracer
from tests.bench.pipeline_loop import stub_consumer, work

SWITCH = "BENCH_SWITCH"
TURN_S = 2.0
# Prometheus is a process of its own too. It fetches the metrics as often as it is told to, a second apart.
SCRAPES = 2
SCRAPER = """
import sys, time
from urllib.request import urlopen
for _ in sys.stdin:
    urlopen(sys.argv[1]).read()
    time.sleep(1)
"""


class Turn(NamedTuple):
    """What came of one turn.

    Attributes:
        is_on: whether it was with what is measured.
        predictions: how many were handed to a transaction.
        seconds: how long it took.
    """

    is_on: bool
    predictions: int
    seconds: float

    @property
    def rate(self) -> float:
        """Predictions a second."""
        return self.predictions / self.seconds


class Mute(Vitals):
    """Shows nothing."""

    def __init__(self) -> None:
        """It watches nobody."""

    def received(self, arrived: Iterable[tuple[Modality, Delivery]]) -> None:
        """Does nothing."""

    def left_for_model(self, samples: int, waited_ms: int) -> None:
        """Does nothing."""

    def published(self, moments: Sequence[Moment], newest_ms: npt.NDArray[np.int64]) -> Callable[[], None]:
        """Does nothing, now and later."""
        return lambda: None

    def set_aside(self, topic: str, reason: Reason) -> None:
        """Does nothing."""

    def watch(self, now_ms: int) -> None:
        """Does nothing."""


class Turns:
    """Switches every `TURN_S`, in a thread of its own, and counts.

    Args:
        consumer: what works.
        switch: switches it on or off.
    """

    def __init__(self, consumer: FusionConsumer, switch: Callable[[bool], None]) -> None:
        self._switch = switch
        self._predictions = 0
        self.done: list[Turn] = []
        self._publish = consumer._publish
        consumer._publish = self._count  # type: ignore[method-assign]
        threading.Thread(target=self._run, daemon=True).start()

    def _count(self, moments: Sequence[Moment], probabilities: Probabilities) -> None:
        self._predictions += len(moments)
        self._publish(moments, probabilities)

    def _run(self) -> None:
        while not self._predictions:
            time.sleep(0.01)
        is_on = True
        while True:
            is_on = not is_on
            self._switch(is_on)
            predictions, began_s = self._predictions, time.monotonic()
            time.sleep(TURN_S)
            self.done.append(Turn(is_on, self._predictions - predictions, time.monotonic() - began_s))


def main() -> None:
    """Classifies and commits until it is told to stop, then says what came of each turn."""
    settings = load().settings
    logs.configure(settings.monitoring, program="bench")
    spans, none = tracer(settings.monitoring, "bench", settings.kafka.replica), PassedOn()
    consumer = stub_consumer(settings, none)
    vitals, mute = consumer._vitals, Mute()
    address = f"http://127.0.0.1:{serve(settings.monitoring, Health())}/metrics"
    scraper = subprocess.Popen([sys.executable, "-c", SCRAPER, address], stdin=subprocess.PIPE, text=True, bufsize=1)
    assert scraper.stdin is not None
    tell = scraper.stdin.write

    def switch_metrics(is_on: bool) -> None:
        consumer._vitals = vitals if is_on else mute
        if is_on:
            tell("now\n" * SCRAPES)

    def switch_spans(is_on: bool) -> None:
        consumer._outputs._tracer = spans if is_on else none

    turns = Turns(consumer, switch_metrics if os.environ[SWITCH] == "metrics" else switch_spans)
    work(consumer)
    spans.close()
    scraper.stdin.close()
    scraper.wait()
    sys.stdout.write(json.dumps({"turns": turns.done}) + "\n")


if __name__ == "__main__":
    main()
