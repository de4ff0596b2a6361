"""A subscriber whose lag, assignment and commits are shown as metrics and health."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from consumers.commits import ReadCommits
from pipeline.kafka.contract import Message, TopicPartition
from pipeline.kafka.subscriber import Subscriber
from pipeline.telemetry import metrics
from pipeline.telemetry.health import Health

EVERY_S = 1.0


class Measurable(Subscriber, Protocol):
    """A subscriber that knows how far behind it is."""

    def assigned(self) -> Collection[TopicPartition] | None:
        """Returns the partitions held; None while the group has not handed them out."""

    def backlog(self) -> Mapping[TopicPartition, int]:
        """Returns how many records of each partition held are still to be delivered."""


class WatchedSubscriber:
    """Passes everything on to a subscriber; counts what comes, and samples the rest once a second.

    Args:
        subscriber: the member of the group.
        health: is told of every poll, and once a second how things stand.
        suspects: whose fault it may be that nothing is committed, for a sentence.
        clock_s: a monotonic clock.
    """

    def __init__(
        self, subscriber: Measurable, health: Health, suspects: str, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._subscriber = subscriber
        self._health = health
        self._commits = ReadCommits(health, suspects, clock_s)
        self._clock_s = clock_s
        self._sampled_s: float | None = None

    @property
    def generation(self) -> int:
        """How often partitions were taken away."""
        return self._subscriber.generation

    def poll(self, count: int, timeout_s: float) -> Sequence[Message]:
        """Returns records; the program's main loop comes by here."""
        generation = self._subscriber.generation
        messages = self._subscriber.poll(count, timeout_s)
        if self._subscriber.generation != generation:
            self._commits.taken_away()
        if messages:
            metrics.RECORDS.labels(messages[0].topic).inc(len(messages))
            self._commits.read()
        self._health.beat()
        now_s = self._clock_s()
        if self._sampled_s is None or now_s - self._sampled_s >= EVERY_S:
            self._sampled_s = now_s
            self._sample()
        return messages

    def commit(self, following: Mapping[TopicPartition, int]) -> None:
        """Commits."""
        self._subscriber.commit(following)
        if following:
            self._commits.committed()

    def pause(self) -> None:
        """Stops delivery."""
        self._subscriber.pause()

    def resume(self) -> None:
        """Takes delivery up again."""
        self._subscriber.resume()

    def close(self) -> None:
        """Ends the membership."""
        self._subscriber.close()

    def _sample(self) -> None:
        held, backlog = self._subscriber.assigned(), self._subscriber.backlog()
        metrics.CONSUMER_LAG.replace({(w.topic, str(w.partition)): records for w, records in backlog.items()})
        if held is None:
            self._health.note("assignment", "The group has not handed out the partitions yet.", ok=False)
        else:
            self._health.note("assignment", f"{len(held)} partitions are held.")
        self._health.note("lag", f"{sum(backlog.values()):,} records are still to be read.")
        self._commits.look()
