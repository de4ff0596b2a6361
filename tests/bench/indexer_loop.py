"""The indexer as shipped, until it has indexed and committed so many predictions. Arguments: predictions."""

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial

from consumers import indexer
from consumers.watched import Measurable, WatchedSubscriber
from pipeline.kafka.contract import Message, TopicPartition
from pipeline.settings import load
from pipeline.telemetry import logs
from pipeline.telemetry.health import Health
from tests.bench.indexer import told


class Timed(WatchedSubscriber):
    """Takes the time of the first record, and stops after the last commit."""

    def __init__(
        self, predictions: int, stop: threading.Event, subscriber: Measurable, health: Health, suspects: str
    ) -> None:
        super().__init__(subscriber, health, suspects)
        self._predictions = predictions
        self._stop = stop
        self._begin_s = 0.0
        self._committed: dict[TopicPartition, int] = {}

    def poll(self, count: int, timeout_s: float) -> Sequence[Message]:
        """Returns records."""
        messages = super().poll(count, timeout_s)
        if messages and not self._begin_s:
            self._begin_s = time.monotonic()
        return messages

    def commit(self, following: Mapping[TopicPartition, int]) -> None:
        """Commits; the topic is new, so its offsets count its records."""
        super().commit(following)
        self._committed.update(following)
        if not self._stop.is_set() and sum(self._committed.values()) >= self._predictions:
            told(self._predictions, time.monotonic() - self._begin_s)
            self._stop.set()


def main(predictions: int) -> None:
    """Indexes and commits all of them, then prints the figures."""
    settings = load().settings
    logs.configure(settings.monitoring, program="bench")
    stop = threading.Event()
    setattr(indexer, "WatchedSubscriber", partial(Timed, predictions, stop))  # noqa: B010  (for this process only)
    indexer.build(settings).run(stop)


if __name__ == "__main__":
    main(int(sys.argv[1]))
