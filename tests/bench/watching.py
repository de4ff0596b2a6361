"""The clock from outside: when the last prediction was committed, seen from the broker.

It works for any loop, whatever it is written in: where a reader with `isolation.level=read_committed` would stand in
the topic of predictions is asked every few milliseconds.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from pipeline.settings import Settings

EVERY_S = 0.01
QUIET_S = 3.0
"""So long nothing must have been committed before a loop counts as done; longer than any loop's commit interval."""


class Watcher:
    """Watches the topic of predictions grow."""

    def __init__(self, settings: Settings) -> None:
        topic = settings.topics.predictions
        self._admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers})
        self._partitions = [TopicPartition(topic, number) for number in range(settings.topics.partitions)]
        self._start = self._committed()
        self._seen: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def wait(self, records: int, limit_s: float, has_ended: Callable[[], bool]) -> float | None:
        """Waits until `records` and more are committed and nothing more comes, or the loop has ended.

        Returns:
            When the last of them was committed, seconds since the epoch; None if they were not there in time.
        """
        deadline = time.time() + limit_s
        while time.time() < deadline:
            time.sleep(0.05)
            if not self._seen:
                continue
            at, end = self._seen[-1]
            quiet = has_ended() or time.time() - at > QUIET_S
            if end - self._start >= records and quiet:
                return self._seen[-1][0]
            if has_ended() and end - self._start < records and time.time() - at > QUIET_S:
                return None
        return None

    def _watch(self) -> None:
        while not self._stop.wait(EVERY_S):
            end = self._committed()
            if not self._seen or end > self._seen[-1][1]:
                self._seen.append((time.time(), end))

    def _committed(self) -> int:
        latest = {where: OffsetSpec.latest() for where in self._partitions}  # type: ignore[no-untyped-call]
        answers = self._admin.list_offsets(latest, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=10.0)
        return sum(answer.result().offset for answer in answers.values())
