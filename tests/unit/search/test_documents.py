from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events.errors import Invalid
from pipeline.events.records import Modality, Prediction, SourceOffset
from pipeline.search.documents import document, hit
from pipeline.telemetry.tracing import TraceContext
from tests.support.predictions import NOON_MS, PREDICTION

DAY_MS = 86_400_000
JANUARY_FIRST_MS = NOON_MS // DAY_MS * DAY_MS
FIRST_MS, LAST_MS = -62_135_596_800_000, 253_402_300_799_999

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
TIMES = st.integers(FIRST_MS, LAST_MS)
PREDICTIONS = st.builds(
    Prediction,
    prediction_id=st.text(),
    key=st.text(),
    event_time_ms=TIMES,
    predicted_at_ms=TIMES,
    revision=st.integers(0, 2**31 - 1),
    label=st.text(),
    confidence=FLOATS,
    probabilities=st.dictionaries(st.text(), FLOATS),
    modalities=st.lists(st.sampled_from(Modality)).map(tuple),
    model=st.text(),
    model_version=st.text(),
    sources=st.lists(
        st.builds(SourceOffset, topic=st.text(), partition=st.integers(0, 99), offset=st.integers(0, 2**62))
    ).map(tuple),
    latency_ms=FLOATS,
)


@pytest.mark.parametrize(
    ("event_time_ms", "index"),
    [
        (JANUARY_FIRST_MS - 1, "p-2025.12.31"),
        (JANUARY_FIRST_MS, "p-2026.01.01"),
        (JANUARY_FIRST_MS + DAY_MS - 1, "p-2026.01.01"),
        (0, "p-1970.01.01"),
        (-1, "p-1969.12.31"),
        (FIRST_MS, "p-0001.01.01"),
        (LAST_MS, "p-9999.12.31"),
    ],
)
def test_the_index_is_that_of_the_events_day_in_utc(event_time_ms: int, index: str) -> None:
    assert document(replace(PREDICTION, event_time_ms=event_time_ms), "p").index == index


def test_the_id_is_the_predictions_and_the_version_rises_with_its_revision() -> None:
    first, amended = document(PREDICTION, "p"), document(replace(PREDICTION, revision=1), "p")
    assert first.document_id == amended.document_id == "5f0c7a0e-0000-5000-8000-000000000000"
    assert (first.version, amended.version) == (1, 2)


def test_a_document_can_be_read_by_people() -> None:
    assert document(PREDICTION, "p").body == {
        "prediction_id": "5f0c7a0e-0000-5000-8000-000000000000",
        "key": "digit-7",
        "event_time": "2026-01-01T12:00:00.000Z",
        "predicted_at": "2026-01-01T12:00:01.250Z",
        "revision": 0,
        "label": "7",
        "confidence": 0.93,
        "probabilities": {"7": 0.93, "1": 0.07},
        "modalities": ["SPEECH", "SENSOR"],
        "model": "digits-small",
        "model_version": "1.0.0",
        "sources": [
            {"topic": "speech", "partition": 3, "offset": 17},
            {"topic": "sensor", "partition": 3, "offset": 19},
        ],
        "latency_ms": 41.5,
    }


@pytest.mark.parametrize("milliseconds", [FIRST_MS - 1, LAST_MS + 1, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("name", ["event_time", "predicted_at"])
def test_a_time_outside_the_calendar_is_invalid(name: str, milliseconds: int) -> None:
    with pytest.raises(Invalid, match=f"Its {name}, {milliseconds} ms since 1970, is outside"):
        document(replace(PREDICTION, **{f"{name}_ms": milliseconds}), "p")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [{"confidence": float("nan")}, {"latency_ms": float("inf")}, {"probabilities": {"7": float("-inf")}}],
    ids=["confidence", "latency_ms", "probabilities"],
)
def test_what_is_no_finite_number_is_invalid(changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="is not a finite number"):
        document(replace(PREDICTION, **changes), "p")


@given(original=PREDICTIONS)
def test_a_document_becomes_the_same_prediction_again(original: Prediction) -> None:
    read = hit(document(original, "p").body).prediction
    assert np.float32(read.confidence) == np.float32(original.confidence)
    assert np.float32(read.latency_ms) == np.float32(original.latency_ms)
    assert {k: np.float32(v) for k, v in read.probabilities.items()} == {
        k: np.float32(v) for k, v in original.probabilities.items()
    }
    floats = {
        "confidence": original.confidence,
        "latency_ms": original.latency_ms,
        "probabilities": original.probabilities,
    }
    assert replace(read, **floats) == original  # type: ignore[arg-type]


def test_a_document_names_the_trace_it_came_in() -> None:
    trace = TraceContext(f"00-{'a' * 32}-{'b' * 16}-01".encode())
    traced = document(PREDICTION, "p", trace)
    assert dict(traced.body) == {**document(PREDICTION, "p").body, "trace_id": "a" * 32}
    assert hit(traced.body) == replace(hit(document(PREDICTION, "p").body), trace_id="a" * 32)
