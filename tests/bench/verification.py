"""Reads back what a loop has published: every key once, with the right answer, and when it was there."""

import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from confluent_kafka import Consumer, TopicPartition

from pipeline.events.codec import Codec
from tests.bench.backlog import Means

CLASSES = 10
_PATIENCE_S = 10.0
_POLL_S = 0.2

Answer = Callable[[bytes], int]
"""Reads the answer off a record's value."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the keys.

    Attributes:
        right: keys answered exactly once and rightly.
        missing: keys without an answer.
        doubled: answers beyond the first.
        wrong: first answers that are not the mean.
        checksum: CRC-32 over the answers in the order of the keys.
    """

    right: int
    missing: int
    doubled: int
    wrong: int
    checksum: int

    @property
    def is_exact(self) -> bool:
        """Whether each key has one answer, and the right one."""
        return not (self.missing or self.doubled or self.wrong)

    def figures(self) -> dict[str, int]:
        """Returns it for the results."""
        return asdict(self)


class Predictions:
    """The topic of predictions from a moment on: `Predictions(…)` marks where it ends now."""

    def __init__(self, servers: str, topic: str, partitions: int) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": "bench-verification",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
            }
        )
        wanted = [TopicPartition(topic, number) for number in range(partitions)]
        for where in wanted:
            bounds = self._consumer.get_watermark_offsets(where, 10.0)
            where.offset = bounds[1] if bounds else 0
        self._starts = wanted

    def check(self, expected: Means, answer: Answer) -> Verdict:
        """Reads all that is committed since, and compares it with what is expected of each key."""
        answers = np.full(len(expected), -1, np.int64)
        doubled, quiet_s = 0, 0.0
        self._consumer.assign(self._starts)
        ends: set[int | None] = set()
        while len(ends) < len(self._starts):
            messages = self._consumer.consume(10_000, _POLL_S)
            quiet_s = 0.0 if messages else quiet_s + _POLL_S
            assert quiet_s < _PATIENCE_S, "the topic of predictions has gone quiet without an end"
            for message in messages:
                if message.error() is not None:
                    ends.add(message.partition())
                    continue
                key, value = message.key(), message.value()
                assert isinstance(key, bytes)
                assert isinstance(value, bytes)
                number = int(key.rpartition(b"-")[2])
                if answers[number] >= 0:
                    doubled += 1
                else:
                    answers[number] = answer(value)
        self._consumer.close()
        missing = int((answers < 0).sum())
        wrong = int(((answers >= 0) & (answers != expected)).sum())
        right = len(expected) - missing - wrong
        return Verdict(right, missing, doubled, wrong, zlib.crc32(answers.astype("<i8").tobytes()))


def decimal(value: bytes) -> int:
    """Reads the answer of the bare loop and the peers: the mean in decimal digits."""
    return int(value)


def predicted_label() -> Answer:
    """Returns what reads our predictions: the label is the mean modulo the classes."""
    codec = Codec()
    return lambda value: int(codec.decode_prediction(value).label)
