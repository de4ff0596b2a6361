"""Predictions that are encoded by the batch are those that the codec would write, byte by byte."""

import uuid

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from consumers.outputs import PREDICTION_NAMESPACE, prediction_ids
from pipeline.events.codec import Codec
from pipeline.events.predictions import PredictionColumns, PredictionEncoder
from pipeline.events.records import Modality, Prediction, SourceOffset

CODEC = Codec()
LABELS = ("null", "eins", "zwölf", "")
TIMES = st.integers(0, 2**62)
KEYS = st.text(min_size=1, max_size=80)
SUBSETS = st.lists(st.sampled_from(Modality), min_size=1, max_size=3, unique=True).map(
    lambda chosen: tuple(sorted(chosen))
)


@st.composite
def a_prediction(draw: st.DrawFn) -> tuple[Prediction, list[float]]:
    row = draw(arrays(np.float32, len(LABELS), elements=st.floats(0, 1, width=32)))
    modalities = draw(SUBSETS)
    key, time_ms = draw(KEYS), draw(TIMES)
    best = int(row.argmax())
    prediction = Prediction(
        prediction_id=str(uuid.uuid5(PREDICTION_NAMESPACE, f"{time_ms}:{key}")),
        key=key,
        event_time_ms=time_ms,
        predicted_at_ms=1_800_000_000_000,
        revision=draw(st.integers(0, 600)),
        label=LABELS[best],
        confidence=float(row[best]),
        probabilities=dict(zip(LABELS, row.tolist(), strict=True)),
        modalities=modalities,
        model="digits",
        model_version="1.0.0",
        sources=tuple(
            SourceOffset(draw(st.sampled_from(["speech", "image", "ton"])), draw(st.integers(0, 999)), draw(TIMES))
            for _ in modalities
        ),
        latency_ms=float(draw(st.integers(-5_000, 10_000_000))),
    )
    return prediction, row.tolist()


@given(st.lists(a_prediction(), min_size=1, max_size=6))
def test_the_bytes_are_the_codecs(batch: list[tuple[Prediction, list[float]]]) -> None:
    predictions = [prediction for prediction, _ in batch]
    probabilities: npt.NDArray[np.float32] = np.array([row for _, row in batch], np.float32)
    columns = PredictionColumns(
        prediction_ids=[one.prediction_id.encode() for one in predictions],
        keys=[one.key.encode() for one in predictions],
        event_times_ms=np.array([one.event_time_ms for one in predictions]),
        revisions=[one.revision for one in predictions],
        modalities=[one.modalities for one in predictions],
        places=[(source.topic, source.partition) for one in predictions for source in one.sources],
        offsets=np.array([source.offset for one in predictions for source in one.sources]),
        latencies_ms=np.array([int(one.latency_ms) for one in predictions]),
    )
    encoder = PredictionEncoder(CODEC.prediction_header, LABELS, "digits", "1.0.0")
    assert encoder.encode(columns, probabilities, 1_800_000_000_000) == list(map(CODEC.encode_prediction, predictions))


@given(st.lists(st.tuples(KEYS, TIMES), max_size=6))
def test_ids_are_those_of_the_uuid_module(moments: list[tuple[str, int]]) -> None:
    expected = [str(uuid.uuid5(PREDICTION_NAMESPACE, f"{time_ms}:{key}")).encode() for key, time_ms in moments]
    assert prediction_ids([key.encode() for key, _ in moments], [time_ms for _, time_ms in moments]) == expected
