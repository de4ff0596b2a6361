"""What travels: source events in, predictions, dead letters and statistics out.

These mirror the Avro files of `schemas/` field by field; `pipeline.events.codec` turns one into the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

Headers = tuple[tuple[str, bytes], ...]
"""A record's headers, in their order; a name may come more than once."""


class Modality(IntEnum):
    """The three kinds of input. The value is their place in every array and bit mask."""

    SPEECH = 0
    IMAGE = 1
    SENSOR = 2


class SpeechEncoding(StrEnum):
    """How the audio of a speech event is encoded."""

    PCM_S16LE = "PCM_S16LE"
    WAV = "WAV"
    FLAC = "FLAC"
    OGG = "OGG"


class ImageEncoding(StrEnum):
    """How the picture of an image event is encoded."""

    JPEG = "JPEG"
    PNG = "PNG"


class Reason(StrEnum):
    """Why a record became a dead letter; `schemas/dead_letter.avsc` has a sentence for each."""

    UNDECODABLE = "UNDECODABLE"
    INVALID = "INVALID"
    MISROUTED = "MISROUTED"
    CLOCK_SKEW = "CLOCK_SKEW"
    LATE = "LATE"
    DUPLICATE = "DUPLICATE"
    INCOMPLETE = "INCOMPLETE"
    TOO_LARGE = "TOO_LARGE"
    INFERENCE_FAILED = "INFERENCE_FAILED"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True)
class SpeechEvent:
    """A mono recording. `audio` is bare little-endian int16 samples or a whole file, as `encoding` says."""

    event_time_ms: int
    source: str
    sample_rate: int
    encoding: SpeechEncoding
    audio: bytes


@dataclass(frozen=True, slots=True)
class ImageEvent:
    """A picture: the bytes of a whole JPEG or PNG file."""

    event_time_ms: int
    source: str
    encoding: ImageEncoding
    image: bytes


@dataclass(frozen=True, slots=True)
class SensorEvent:
    """Sampled channels: `values` is float32, little-endian, row-major [frames, len(channels)]."""

    event_time_ms: int
    source: str
    sample_rate: float
    channels: tuple[str, ...]
    values: bytes


Event = SpeechEvent | ImageEvent | SensorEvent


@dataclass(frozen=True, slots=True)
class SourceOffset:
    """Where a source record stands in Kafka."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one moment. Times in milliseconds since the epoch; probabilities add up to 1."""

    prediction_id: str
    key: str
    event_time_ms: int
    predicted_at_ms: int
    revision: int
    label: str
    confidence: float
    probabilities: Mapping[str, float]
    modalities: tuple[Modality, ...]
    model: str
    model_version: str
    sources: tuple[SourceOffset, ...]
    latency_ms: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A source record that could not become part of a prediction, and why."""

    reason: Reason
    detail: str
    key: bytes | None
    value: bytes | None
    sources: tuple[SourceOffset, ...]
    occurred_at_ms: int
    headers: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Statistic:
    """What one tumbling window looked like for one label, model version and set of inputs; all 0 if `count` is 0."""

    window_start_ms: int
    window_end_ms: int
    model_version: str
    label: str
    modalities: tuple[Modality, ...]
    count: int
    mean_confidence: float
    latency_p50_ms: float
    latency_p99_ms: float
