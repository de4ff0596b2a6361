"""A prediction as a document and back. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson

from pipeline.events.errors import Invalid
from pipeline.events.records import Modality, Prediction, SourceOffset
from pipeline.search.template import index_of
from pipeline.telemetry.tracing import TraceContext

SHOWN_ID_CHARACTERS = 80
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Document:
    """What is written where. A replay of the prediction computes the same index and the same id.

    `version` rises with the prediction's revision: of two revisions the newer one stays, whatever their order.
    `trace` is what the document's `trace_id` is taken from.
    """

    index: str
    document_id: str
    body: Mapping[str, Any]
    version: int = 1
    trace: TraceContext | None = None

    def __str__(self) -> str:
        return f"{self.index}/{self.document_id[:SHOWN_ID_CHARACTERS]}"


@dataclass(frozen=True, slots=True)
class Hit:
    """A prediction as a search finds it; `trace_id` names the trace that its record came in, if there was one."""

    prediction: Prediction
    trace_id: str | None = None


def document(prediction: Prediction, alias: str, trace: TraceContext | None = None) -> Document:
    """Returns the prediction's document in the index of its event's day.

    Args:
        prediction: what is written.
        alias: first part of the index's name.
        trace: the trace that the prediction's record came in.

    Raises:
        Invalid: a time is outside the years 1 to 9999, or a number is none.
    """
    confidence, latency_ms, *probabilities = _shortest(
        (prediction.confidence, prediction.latency_ms, *prediction.probabilities.values())
    )
    event_time = _moment(prediction.event_time_ms, "event_time")
    body = {
        "prediction_id": prediction.prediction_id,
        "key": prediction.key,
        "event_time": _text(event_time),
        "predicted_at": _text(_moment(prediction.predicted_at_ms, "predicted_at")),
        "revision": prediction.revision,
        "label": prediction.label,
        "confidence": confidence,
        "probabilities": dict(zip(prediction.probabilities, probabilities, strict=True)),
        "modalities": [modality.name for modality in prediction.modalities],
        "model": prediction.model,
        "model_version": prediction.model_version,
        "sources": [{"topic": s.topic, "partition": s.partition, "offset": s.offset} for s in prediction.sources],
        "latency_ms": latency_ms,
    }
    if trace is not None:
        body["trace_id"] = trace.trace_id
    index = index_of(alias, event_time.date())
    return Document(index, prediction.prediction_id, body, prediction.revision + 1, trace)


def hit(body: Mapping[str, Any]) -> Hit:
    """Returns what a document's `_source` holds."""
    fields = dict(body)
    trace_id = fields.pop("trace_id", None)
    fields["event_time_ms"] = _milliseconds(fields.pop("event_time"))
    fields["predicted_at_ms"] = _milliseconds(fields.pop("predicted_at"))
    fields["modalities"] = tuple(Modality[name] for name in fields["modalities"])
    fields["sources"] = tuple(SourceOffset(**source) for source in fields["sources"])
    return Hit(Prediction(**fields), trace_id)


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


def _shortest(values: Sequence[float]) -> list[float]:
    """Returns the numbers with the fewest digits that are the same float32: 0.93, not 0.9300000071525574."""
    # What writes float32 arrays fastest is a JSON library; it writes null for what JSON has no number for.
    shortest: list[float | None] = orjson.loads(
        orjson.dumps(np.array(values, np.float32), option=orjson.OPT_SERIALIZE_NUMPY)
    )
    numbers = [value for value in shortest if value is not None]
    if len(numbers) < len(values):
        raise Invalid("Its confidence, its latency_ms or one of its probabilities is not a finite number.")
    return numbers
