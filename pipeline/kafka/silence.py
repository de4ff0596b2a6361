"""Notices when the client no longer delivers what a broker has.

It can stop fetching a partition without a word (librdkafka issue 5591, for one), and nobody else would find out: the
group's heartbeats go on, and the lag just grows.
"""

import time
from collections.abc import Callable, Iterable, Mapping

from pipeline.kafka.contract import Arrivals, TopicPartition
from pipeline.kafka.errors import AbortNeeded

LOOK_EVERY_S = 30.0


class Silence:
    """What was heard of each partition, and of which the broker has had more for two looks in a row.

    One look would not do: something may just be on its way.

    Args:
        clock_s: a monotonic clock.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._reached: dict[TopicPartition, int] = {}
        self._heard_s: dict[TopicPartition, float] = {}
        self._paused: set[TopicPartition] = set()
        self._owed: dict[TopicPartition, int] = {}
        self._last_look_s = clock_s()

    def begin(self, starts: Mapping[TopicPartition, int]) -> None:
        """These partitions, and no others, are read from these offsets on."""
        self._reached = dict(starts)
        self._heard_s = dict.fromkeys(starts, self._clock_s())
        self._paused.clear()
        self._owed.clear()

    def note(self, arrivals: Arrivals) -> None:
        """Something was delivered, or nothing."""
        now_s = self._clock_s()
        for delivery in arrivals.deliveries:
            self._reached[delivery.where], self._heard_s[delivery.where] = delivery.offsets[-1] + 1, now_s
        for end in arrivals.ends:
            where = TopicPartition(end.topic, end.partition)
            self._reached[where], self._heard_s[where] = end.offset, now_s

    def paused(self, partitions: Iterable[TopicPartition]) -> None:
        """Nothing is to come of these."""
        self._paused.update(partitions)

    def resumed(self, partitions: Iterable[TopicPartition]) -> None:
        """These are to come again."""
        self._paused.difference_update(partitions)
        self._heard_s |= dict.fromkeys(partitions, self._clock_s())

    def look(self, end_of: Callable[[TopicPartition], int | None]) -> None:
        """Asks for the ends of silent partitions, every `LOOK_EVERY_S`.

        Args:
            end_of: returns where a partition ends on the broker, or None while that does not answer.

        Raises:
            AbortNeeded: the client owes records; what it has taken over must be taken anew.
        """
        now_s = self._clock_s()
        if now_s - self._last_look_s < LOOK_EVERY_S:
            return
        self._last_look_s = now_s
        before, self._owed = self._owed, {}
        owed = {}
        for where in [w for w, heard_s in self._heard_s.items() if now_s - heard_s >= LOOK_EVERY_S]:
            if where in self._paused:
                continue
            end = end_of(where)
            if end is None:
                return
            if end > self._reached[where]:
                owed[where] = self._reached[where]
        self._owed = owed
        for where, reached in owed.items() & before.items():
            raise AbortNeeded(
                f"The client has delivered nothing of {where} from offset {reached} on for {LOOK_EVERY_S:g} s, "
                "and the broker has more."
            )
