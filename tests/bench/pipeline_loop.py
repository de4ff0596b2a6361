"""The fusion consumer as shipped, with a stub model: the mean of the bytes. Argument: triples."""

import sys
import threading
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from consumers.assembly import connect
from consumers.fusion import FusionConsumer
from consumers.outputs import OutputBuilder
from pipeline.events.codec import Codec
from pipeline.events.records import Event, ImageEvent, SensorEvent, SpeechEvent
from pipeline.join.inspection import Inspector
from pipeline.model.bundle import SHIPPED, load_bundle
from pipeline.model.inference import Inference, Probabilities
from pipeline.model.samples import Sample
from pipeline.model.specs import InputSpecs
from pipeline.settings import load
from pipeline.telemetry import logs, metrics
from tests.bench.report import finished

CLASSES = 10


class MeanOfBytes:
    """Answers with the mean byte of the inputs, modulo the classes."""

    def predict(self, samples: Sequence[Sample]) -> Probabilities:
        """Returns one-hot rows."""
        rows = np.zeros((len(samples), CLASSES), dtype=np.float32)
        for row, sample in zip(rows, samples, strict=True):
            parts = [part for part in (sample.speech, sample.image, sample.sensor) if part is not None]
            row[int(sum(float(part.mean()) for part in parts)) % CLASSES] = 1
        return rows


def bytes_as_media(event: Event, _specs: InputSpecs) -> npt.NDArray[np.uint8]:
    """Returns the payload as it is."""
    match event:
        case SpeechEvent():
            return np.frombuffer(event.audio, np.uint8)
        case ImageEvent():
            return np.frombuffer(event.image, np.uint8)
        case SensorEvent():
            return np.frombuffer(event.values, np.uint8)


def main(triples: int) -> None:
    """Classifies and commits all triples, then prints the figures."""
    settings = load().settings
    logs.configure(settings.monitoring, program="bench")
    manifest = load_bundle(settings.serving.model_path or SHIPPED).manifest
    codec = Codec()
    inference = Inference(MeanOfBytes(), manifest.specs, 2, 2, 2, 60.0, decode=bytes_as_media)
    inspector = Inspector(
        codec, settings.topics.partitions, settings.join.max_skew_ms, settings.topics.max_record_bytes
    )
    outputs = OutputBuilder(codec, settings, manifest)
    consumer = FusionConsumer(settings, inspector, inference, outputs, lambda listener: connect(settings, listener))
    stop = threading.Event()
    worker = threading.Thread(target=consumer.run, args=(stop,))
    worker.start()
    first = metrics.RECORDS.labels(settings.topics.sources[0])
    answered = metrics.PREDICTIONS.labels("3")
    while first._value.get() == 0:
        time.sleep(0.001)
    begin = time.monotonic()
    while answered._value.get() < triples or not consumer._ledger.is_settled:
        time.sleep(0.002)
    seconds = time.monotonic() - begin
    stop.set()
    worker.join()
    finished(triples, seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]))
