"""Small valid events, and a stand-in for the model."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from pipeline.events.codec import Codec
from pipeline.events.records import (
    Event,
    ImageEncoding,
    ImageEvent,
    Modality,
    SensorEvent,
    SpeechEncoding,
    SpeechEvent,
)
from pipeline.model.contract import Probabilities
from pipeline.model.errors import InferenceFailed
from pipeline.model.samples import Sample

LABELS = tuple("0123456789")
CODEC = Codec()


@cache
def _png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.eye(16, dtype=np.uint8) * 255).save(buffer, "PNG")
    return buffer.getvalue()


@cache
def _tone() -> bytes:
    return (np.sin(np.arange(800) / 5) * 8_000).astype("<i2").tobytes()


@cache
def _stroke() -> bytes:
    return np.linspace(0, 1, 32, dtype="<f4").tobytes()


def event(modality: Modality, event_time_ms: int) -> Event:
    """Returns a valid event of 16 kHz speech, a 16 x 16 PNG or 16 frames of a pen."""
    match modality:
        case Modality.SPEECH:
            return SpeechEvent(event_time_ms, "test", 16_000, SpeechEncoding.PCM_S16LE, _tone())
        case Modality.IMAGE:
            return ImageEvent(event_time_ms, "test", ImageEncoding.PNG, _png())
        case Modality.SENSOR:
            return SensorEvent(event_time_ms, "test", 100.0, ("x", "y"), _stroke())


def encoded(modality: Modality, event_time_ms: int) -> bytes:
    """Returns the message value of such an event."""
    return CODEC.encode_event(event(modality, event_time_ms))


class StubPredictor:
    """Answers "3" with confidence 0.91, unless told to fail for a batch."""

    def __init__(self, fails: Callable[[Sequence[Sample]], bool] = lambda _: False) -> None:
        self._fails = fails
        self.batches: list[int] = []

    def predict(self, samples: Sequence[Sample]) -> Probabilities:
        """Returns the same row for every sample."""
        self.batches.append(len(samples))
        if self._fails(samples):
            raise InferenceFailed("The model was told to fail.")
        row = np.full(len(LABELS), 0.01, dtype=np.float32)
        row[3] = 0.91
        return np.tile(row, (len(samples), 1))

    def submit(self, samples: Sequence[Sample]) -> "Later":
        """Answers when the result is asked for."""
        return Later(lambda: self.predict(samples))


@dataclass(frozen=True, slots=True)
class Later:
    """An answer that is worked out when it is asked for."""

    result: Callable[[], Probabilities]


def media_of(event: Event) -> bytes:
    """Returns what an event carries, as it is encoded."""
    match event:
        case SpeechEvent():
            return event.audio
        case ImageEvent():
            return event.image
        case SensorEvent():
            return event.values
