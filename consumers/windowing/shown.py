"""A statistic as JSON for people and programs."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.events.records import Statistic

_EPOCH = datetime.fromtimestamp(0, UTC)


def fields(statistic: Statistic) -> dict[str, Any]:
    """Returns the fields of its schema and the length of its window; times in ISO 8601 (UTC)."""
    return {
        "window_start": _text(statistic.window_start_ms),
        "window_end": _text(statistic.window_end_ms),
        "window_ms": statistic.window_end_ms - statistic.window_start_ms,
        "model_version": statistic.model_version,
        "label": statistic.label,
        "modalities": [modality.name for modality in statistic.modalities],
        "count": statistic.count,
        "mean_confidence": round(statistic.mean_confidence, 6),
        "latency_p50_ms": round(statistic.latency_p50_ms, 3),
        "latency_p99_ms": round(statistic.latency_p99_ms, 3),
    }


def _text(milliseconds: int) -> str | None:
    try:
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
