"""The fusion consumer as shipped, with a stub model: the mean of the bytes. It works until SIGTERM."""

import signal
import threading
from collections.abc import Sequence
from itertools import chain

import numpy as np

from consumers.assembly import connect
from consumers.fusion import FusionConsumer
from consumers.outputs import OutputBuilder
from pipeline.events.codec import Codec
from pipeline.events.records import Modality
from pipeline.join.inspection import Inspector
from pipeline.model.contract import Answers, Request
from pipeline.model.manifest import SHIPPED, read_manifest
from pipeline.settings import Settings, load
from pipeline.telemetry import logs
from pipeline.telemetry.tracing import Tracer, tracer
from tests.bench.first import await_first
from tests.bench.stub import mean_bytes
from tests.support.events import media_of

CLASSES = 10
ONE_HOT = np.eye(CLASSES, dtype=np.float32)


class MeanOfBytes:
    """A `pipeline.model.inference.Classifier` that answers at once: the mean byte of the inputs, modulo the classes."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._heads: dict[Modality, int] = {}
        self._answered: list[Answers] = []

    def __len__(self) -> int:
        """None is ever in flight."""
        return len(self._answered)

    @property
    def has_room(self) -> bool:
        """Always."""
        return True

    def submit(self, requests: Sequence[Request]) -> None:
        """Answers a batch."""
        if len(self._heads) < len(Modality):
            self._learn(requests)
        heads = self._heads
        means = mean_bytes([[memoryview(r.value)[heads[r.modality] :] for r in one.records] for one in requests])
        self._answered.append(Answers(requests, ONE_HOT[means % CLASSES]))

    def _learn(self, requests: Sequence[Request]) -> None:
        """Learns how many bytes stand before the media, which end each value: as many in all events of a topic."""
        for record in chain.from_iterable(request.records for request in requests):
            media = media_of(self._codec.decode_event(record.modality, record.value))
            self._heads[record.modality] = len(record.value) - len(media)

    def results(self, wait_s: float = 0.0) -> list[Answers]:
        """Returns what was answered."""
        answered, self._answered = self._answered, []
        return answered

    def discard(self) -> None:
        """Forgets the answers."""
        self._answered.clear()

    def close(self) -> None:
        """There is nothing to close."""


def stub_consumer(settings: Settings, spans: Tracer) -> FusionConsumer:
    """Returns the consumer as shipped, but for its model."""
    manifest = read_manifest(settings.serving.model_path or SHIPPED)
    codec = Codec()
    partitions = settings.topics.partitions
    inspector = Inspector(codec, partitions, settings.join.max_skew_ms, settings.topics.max_record_bytes)
    outputs = OutputBuilder(codec, settings, manifest, tracer=spans)
    return FusionConsumer(
        settings, inspector, MeanOfBytes(codec), outputs, lambda listener: connect(settings, listener, partitions)
    )


def work(consumer: FusionConsumer) -> None:
    """Classifies and commits until SIGTERM; says when the first byte has come."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    worker = threading.Thread(target=consumer.run, args=(stop,))
    worker.start()
    await_first(worker)
    worker.join()


def main() -> None:
    """Works as the settings say."""
    settings = load().settings
    logs.configure(settings.monitoring, program="bench")
    spans = tracer(settings.monitoring, "bench", settings.kafka.replica)
    work(stub_consumer(settings, spans))
    spans.close()


if __name__ == "__main__":
    main()
