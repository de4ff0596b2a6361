"""A prediction as a document and back. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from pipeline.events.errors import Invalid
from pipeline.events.records import Modality, Prediction, SourceOffset

SHOWN_ID_CHARACTERS = 80
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Document:
    """What is written where. A replay of the prediction computes the same index and the same id.

    `version` rises with the prediction's revision: of two revisions the newer one stays, whatever their order.
    """

    index: str
    document_id: str
    body: Mapping[str, Any]
    version: int = 1

    def __str__(self) -> str:
        return f"{self.index}/{self.document_id[:SHOWN_ID_CHARACTERS]}"


def document(prediction: Prediction, alias: str) -> Document:
    """Returns the prediction's document in the index of its event's day.

    Raises:
        Invalid: a time is outside the years 1 to 9999.
    """
    event_time = _moment(prediction.event_time_ms, "event_time")
    body = {
        "prediction_id": prediction.prediction_id,
        "key": prediction.key,
        "event_time": _text(event_time),
        "predicted_at": _text(_moment(prediction.predicted_at_ms, "predicted_at")),
        "revision": prediction.revision,
        "label": prediction.label,
        "confidence": _shortest(prediction.confidence),
        "probabilities": {label: _shortest(p) for label, p in prediction.probabilities.items()},
        "modalities": [modality.name for modality in prediction.modalities],
        "model": prediction.model,
        "model_version": prediction.model_version,
        "sources": [{"topic": s.topic, "partition": s.partition, "offset": s.offset} for s in prediction.sources],
        "latency_ms": _shortest(prediction.latency_ms),
    }
    day = event_time.date().isoformat().replace("-", ".")
    return Document(f"{alias}-{day}", prediction.prediction_id, body, prediction.revision + 1)


def prediction(body: Mapping[str, Any]) -> Prediction:
    """Returns the prediction that a document's `_source` holds."""
    fields = dict(body)
    fields["event_time_ms"] = _milliseconds(fields.pop("event_time"))
    fields["predicted_at_ms"] = _milliseconds(fields.pop("predicted_at"))
    fields["modalities"] = tuple(Modality[name] for name in fields["modalities"])
    fields["sources"] = tuple(SourceOffset(**source) for source in fields["sources"])
    return Prediction(**fields)


def _moment(milliseconds: int, name: str) -> datetime:
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise Invalid(
            f"Its {name}, {milliseconds} ms since 1970, is outside the years 1 to 9999: "
            "event times are milliseconds, not microseconds or nanoseconds."
        ) from None


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _milliseconds(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(milliseconds=1)


def _shortest(value: float) -> float:
    """Returns the number with the fewest digits that is the same float32: 0.93, not 0.9300000071525574."""
    return float(str(np.float32(value)))
