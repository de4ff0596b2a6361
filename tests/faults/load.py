"""The load under which faults happen: triples at a steady rate, of which some are incomplete."""

import random
import threading
import time
from dataclasses import dataclass

from pipeline.events.records import Modality
from pipeline.kafka.contract import Output
from pipeline.kafka.producer import RecordProducer
from pipeline.settings import KafkaSettings, TopicSettings
from tests.support.events import encoded

_PACE_S = 0.01


@dataclass(frozen=True, slots=True)
class Shape:
    """What a load is like.

    Attributes:
        triples_per_s: rate.
        incomplete: part of the triples of which one or two inputs are missing.
        silent: an input that never comes.
        skew_ms: how far the producer's clock is ahead.
        hot: part of the triples that have one and the same key.
        seed: for the random choices, and the keys' beginning.
    """

    triples_per_s: float
    incomplete: float = 0.1
    silent: Modality | None = None
    skew_ms: int = 0
    hot: float = 0.0
    seed: int = 1

    def inputs(self, rng: random.Random) -> list[Modality]:
        """Returns which inputs the next triple has."""
        every = [modality for modality in Modality if modality is not self.silent]
        return rng.sample(every, rng.choice((1, 2))) if rng.random() < self.incomplete else every

    def key(self, rng: random.Random, number: int) -> bytes:
        """Returns the key of a triple."""
        return b"hot" if rng.random() < self.hot else f"{self.seed}-{number}".encode()


class Load(threading.Thread):
    """Publishes triples at a steady rate until it is stopped."""

    def __init__(self, kafka: KafkaSettings, topics: TopicSettings, shape: Shape) -> None:
        super().__init__(name="load")
        self.triples = 0
        self.records = 0
        self._kafka = kafka.model_copy(update={"replica": "load"})
        self._topics = topics
        self._shape = shape
        self._stopping = threading.Event()
        self._failure: Exception | None = None

    def run(self) -> None:
        """Publishes; what goes wrong is told by `stop`."""
        try:
            self._publish()
        except Exception as error:
            self._failure = error

    def stop(self) -> None:
        """Waits until everything is acknowledged."""
        self._stopping.set()
        self.join()
        if self._failure is not None:
            raise self._failure

    def _publish(self) -> None:
        shape = self._shape
        rng = random.Random(shape.seed)
        began_s = time.monotonic()
        with RecordProducer(self._kafka, "load", 8 << 20) as producer:
            while not self._stopping.wait(_PACE_S):
                while self.triples < (time.monotonic() - began_s) * shape.triples_per_s:
                    event_time_ms = time.time_ns() // 1_000_000 + shape.skew_ms
                    key = shape.key(rng, self.triples)
                    for modality in shape.inputs(rng):
                        producer.publish(Output(self._topics.source(modality), key, encoded(modality, event_time_ms)))
                        self.records += 1
                    self.triples += 1
