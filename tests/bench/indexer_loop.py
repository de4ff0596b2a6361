"""The indexer as shipped, until it has indexed and committed so many predictions. Arguments: predictions."""

import sys
import threading
import time
from collections.abc import Mapping, Sequence

from consumers import indexer
from pipeline.kafka.contract import Message, TopicPartition
from pipeline.kafka.subscriber import Subscriber
from pipeline.settings import load
from pipeline.telemetry import logs
from tests.bench.indexer import told


class Timed:
    """Passes everything on to a subscriber; takes the time of the first record, and stops after the last commit."""

    def __init__(self, subscriber: Subscriber, predictions: int, stop: threading.Event) -> None:
        self._subscriber = subscriber
        self._predictions = predictions
        self._stop = stop
        self._begin_s = 0.0
        self._committed: dict[TopicPartition, int] = {}

    @property
    def generation(self) -> int:
        """How often partitions were taken away."""
        return self._subscriber.generation

    def poll(self, count: int, timeout_s: float) -> Sequence[Message]:
        """Returns records."""
        messages = self._subscriber.poll(count, timeout_s)
        if messages and not self._begin_s:
            self._begin_s = time.monotonic()
        return messages

    def commit(self, following: Mapping[TopicPartition, int]) -> None:
        """Commits; the topic is new, so its offsets count its records."""
        self._subscriber.commit(following)
        self._committed.update(following)
        if not self._stop.is_set() and sum(self._committed.values()) >= self._predictions:
            told(self._predictions, time.monotonic() - self._begin_s)
            self._stop.set()

    def pause(self) -> None:
        """Stops delivery."""
        self._subscriber.pause()

    def resume(self) -> None:
        """Takes delivery up again."""
        self._subscriber.resume()

    def close(self) -> None:
        """Ends the membership."""
        self._subscriber.close()


def main(predictions: int) -> None:
    """Indexes and commits all of them, then prints the figures."""
    settings = load().settings
    logs.configure(settings.monitoring, program="bench")
    stop = threading.Event()
    shipped = indexer.build(settings)
    shipped._subscriber = Timed(shipped._subscriber, predictions, stop)
    shipped.run(stop)


if __name__ == "__main__":
    main(int(sys.argv[1]))
