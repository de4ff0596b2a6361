"""Predictions for tests."""

from dataclasses import replace
from typing import Any

from pipeline.events.records import Modality, Prediction, SourceOffset

NOON_MS = 1_767_268_800_000
"""2026-01-01T12:00:00Z."""

PREDICTION = Prediction(
    prediction_id="5f0c7a0e-0000-5000-8000-000000000000",
    key="digit-7",
    event_time_ms=NOON_MS,
    predicted_at_ms=NOON_MS + 1_250,
    revision=0,
    label="7",
    confidence=0.9300000071525574,
    probabilities={"7": 0.9300000071525574, "1": 0.07000000029802322},
    modalities=(Modality.SPEECH, Modality.SENSOR),
    model="digits-small",
    model_version="1.0.0",
    sources=(SourceOffset("speech", 3, 17), SourceOffset("sensor", 3, 19)),
    latency_ms=41.5,
)


def a_prediction(number: int, **changes: Any) -> Prediction:
    """Returns one of its own id and key; `changes` are fields."""
    return replace(PREDICTION, **{"prediction_id": f"id-{number}", "key": f"digit-{number}", **changes})
