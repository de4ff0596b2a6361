"""A subscriber whose lag, assignment and commits are shown as metrics and health."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from pipeline.kafka.contract import Message, TopicPartition
from pipeline.kafka.subscriber import Subscriber
from pipeline.telemetry import metrics
from pipeline.telemetry.clock import monotonic_ms
from pipeline.telemetry.health import Health

EVERY_MS = 1_000


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
        clock_ms: a monotonic clock.
    """

    def __init__(self, subscriber: Measurable, health: Health, clock_ms: Callable[[], int] = monotonic_ms) -> None:
        self._subscriber = subscriber
        self._health = health
        self._clock_ms = clock_ms
        self._sampled_ms: int | None = None
        self._last_commit_ms: int | None = None

    @property
    def generation(self) -> int:
        """How often partitions were taken away."""
        return self._subscriber.generation

    def poll(self, count: int, timeout_s: float) -> Sequence[Message]:
        """Returns records; the program's main loop comes by here."""
        messages = self._subscriber.poll(count, timeout_s)
        if messages:
            metrics.RECORDS.labels(messages[0].topic).inc(len(messages))
        self._health.beat()
        now_ms = self._clock_ms()
        if self._sampled_ms is None or now_ms - self._sampled_ms >= EVERY_MS:
            self._sampled_ms = now_ms
            self._sample(now_ms)
        return messages

    def commit(self, following: Mapping[TopicPartition, int]) -> None:
        """Commits."""
        self._subscriber.commit(following)
        if following:
            self._last_commit_ms = self._clock_ms()
            metrics.LAST_COMMIT.set_to_current_time()

    def pause(self) -> None:
        """Stops delivery."""
        self._subscriber.pause()

    def resume(self) -> None:
        """Takes delivery up again."""
        self._subscriber.resume()

    def close(self) -> None:
        """Ends the membership."""
        self._subscriber.close()

    def _sample(self, now_ms: int) -> None:
        held, backlog = self._subscriber.assigned(), self._subscriber.backlog()
        metrics.CONSUMER_LAG.replace({(w.topic, str(w.partition)): records for w, records in backlog.items()})
        if held is None:
            self._health.note("assignment", "The group has not handed out the partitions yet.", ok=False)
        else:
            self._health.note("assignment", f"{len(held)} partitions are held.")
        self._health.note("lag", f"{sum(backlog.values()):,} records are still to be read.")
        if self._last_commit_ms is None:
            self._health.note("commits", "None has gone through yet.")
        else:
            ago_s = (now_ms - self._last_commit_ms) / 1_000
            self._health.note("commits", f"The last one went through {ago_s:.1f} s ago.")
