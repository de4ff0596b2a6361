"""The fusion consumer as shipped, with a stub model: the mean of the bytes. It works until SIGTERM."""

import signal
import threading
from collections.abc import Sequence

import numpy as np

from consumers.assembly import connect
from consumers.fusion import FusionConsumer
from consumers.outputs import OutputBuilder
from pipeline.events.codec import Codec
from pipeline.join.inspection import Inspector
from pipeline.model.bundle import SHIPPED, load_bundle
from pipeline.model.inference import Answers, Request
from pipeline.settings import load
from pipeline.telemetry import logs
from pipeline.telemetry.tracing import tracer
from tests.bench.first import await_first
from tests.bench.stub import mean_bytes

CLASSES = 10
ONE_HOT = np.eye(CLASSES, dtype=np.float32)


class MeanOfBytes:
    """A `pipeline.model.inference.Classifier` that answers at once: the mean byte of the inputs, modulo the classes."""

    def __init__(self) -> None:
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
        # Records are of today's schema, whose media end where the value ends.
        means = mean_bytes([[memoryview(r.value)[r.media_at :] for r in one.records] for one in requests])
        self._answered.append(Answers(requests, ONE_HOT[means % CLASSES]))

    def results(self, wait_s: float = 0.0) -> list[Answers]:
        """Returns what was answered."""
        answered, self._answered = self._answered, []
        return answered

    def discard(self) -> None:
        """Forgets the answers."""
        self._answered.clear()

    def close(self) -> None:
        """There is nothing to close."""


def main() -> None:
    """Classifies and commits until it is told to stop."""
    settings = load().settings
    logs.configure(settings.monitoring, program="bench")
    manifest = load_bundle(settings.serving.model_path or SHIPPED).manifest
    codec = Codec()
    partitions = settings.topics.partitions
    inspector = Inspector(codec, partitions, settings.join.max_skew_ms, settings.topics.max_record_bytes)
    spans = tracer(settings.monitoring, "bench", settings.kafka.replica)
    outputs = OutputBuilder(codec, settings, manifest, tracer=spans)
    consumer = FusionConsumer(
        settings, inspector, MeanOfBytes(), outputs, lambda listener: connect(settings, listener, partitions)
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    worker = threading.Thread(target=consumer.run, args=(stop,))
    worker.start()
    await_first(settings, worker)
    worker.join()
    spans.close()


if __name__ == "__main__":
    main()
