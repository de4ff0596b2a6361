"""What the fusion consumer publishes: predictions and dead letters, built from source records."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.events.codec import Codec
from pipeline.events.records import DeadLetter, Event, Modality, Prediction, Reason, SourceOffset
from pipeline.join.lane import Lane
from pipeline.join.outcomes import Record
from pipeline.kafka.contract import Message, Output
from pipeline.model.bundle import Manifest
from pipeline.settings import Settings
from pipeline.telemetry.clock import wall_ms

PREDICTION_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:trimodal:prediction")


@dataclass(frozen=True, slots=True)
class Arrived:
    """A source record on its way: the message it came in and the event decoded from it, if it could be."""

    message: Message
    modality: Modality
    event: Event | None


@dataclass(frozen=True, slots=True)
class Moment:
    """A key's records that the join has put together, in the order of the modalities, and the lane they are from.

    Those in `fresh` get their outcome by the model's answer; in an amendment the others had theirs before.
    """

    lane: Lane
    key: bytes
    records: tuple[Record, ...]
    fresh: tuple[Record, ...]

    @property
    def is_amendment(self) -> bool:
        """Whether an earlier answer is amended."""
        return len(self.fresh) < len(self.records)

    def events(self) -> dict[Modality, Event]:
        """Returns what the model is to look at."""
        return {record.modality: record.payload.event for record in self.records}


def prediction_id(key: bytes, event_time_ms: int) -> str:
    """Returns the UUIDv5 of a key and its earliest event time; a replay computes the same."""
    return str(uuid.uuid5(PREDICTION_NAMESPACE, f"{event_time_ms}:{key.decode('utf-8')}"))


class OutputBuilder:
    """Builds and encodes what is published."""

    def __init__(
        self, codec: Codec, settings: Settings, manifest: Manifest, clock_ms: Callable[[], int] = wall_ms
    ) -> None:
        self._clock_ms = clock_ms
        self._codec = codec
        self._topics = settings.topics
        self._min_modalities = settings.join.min_modalities
        self._manifest = manifest

    def prediction(
        self, moment: Moment, used: Sequence[Record], probabilities: npt.NDArray[np.float32]
    ) -> tuple[Prediction, Output]:
        """Returns the prediction for a moment of which the model has `used` these records.

        An amendment keeps the id and the event time of what it amends. Its revision is the number of inputs beyond
        `join.min_modalities`, so it rises with each and is the same after a restart.
        """
        labels, now_ms = self._manifest.labels, self._clock_ms()
        best = int(probabilities.argmax())
        first = [r for r in moment.records if r not in moment.fresh] if moment.is_amendment else used
        first_ms = min(record.event_time_ms for record in first)
        newest_ms = max(record.payload.message.timestamp_ms for record in used)
        prediction = Prediction(
            prediction_id=prediction_id(moment.key, first_ms),
            key=moment.key.decode("utf-8"),
            event_time_ms=first_ms,
            predicted_at_ms=now_ms,
            revision=len(used) - self._min_modalities if moment.is_amendment else 0,
            label=labels[best],
            confidence=float(probabilities[best]),
            probabilities=dict(zip(labels, probabilities.tolist(), strict=True)),
            modalities=tuple(record.modality for record in used),
            model=self._manifest.name,
            model_version=self._manifest.version,
            sources=tuple(_source(record.payload.message) for record in used),
            latency_ms=float(now_ms - newest_ms),
        )
        return prediction, Output(self._topics.predictions, moment.key, self._codec.encode_prediction(prediction))

    def dead_letter(self, message: Message, reason: Reason, detail: str) -> Output:
        """Returns the dead letter of a source record; a value over the limit is left out of it."""
        value = message.value
        if value is not None and len(value) > self._topics.max_record_bytes:
            value = None
        headers: Mapping[str, bytes] = dict(message.headers)
        letter = DeadLetter(reason, detail, message.key, value, (_source(message),), self._clock_ms(), headers)
        return Output(self._topics.dead_letters, message.key, self._codec.encode_dead_letter(letter))


def _source(message: Message) -> SourceOffset:
    return SourceOffset(message.topic, message.partition, message.offset)
