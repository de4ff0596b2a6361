"""Predictions to Avro, a batch at a time: the bytes that `pipeline.events.codec` would write, several times as fast.

Most of a prediction is the same for all of a model (labels, name, version) or a number whose place is known, so a
batch is a few arrays and one join of bytes a record.
"""

from collections.abc import Iterable, Sequence
from operator import add
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.events.records import Modality

_SHIFTS = np.arange(0, 70, 7, dtype=np.uint64)
_DIGIT, _MORE = np.uint64(0x7F), np.uint64(0x80)
_FLOAT32_BYTES = 4
UUID_CHARACTERS = 36


class PredictionColumns(NamedTuple):
    """What differs from one prediction of a batch to the next, an entry each; as the fields of `Prediction`.

    Attributes:
        places: topics and partitions of the inputs of the first prediction, one for each of its modalities, then of
            the second, and so on.
        offsets: where the inputs stand there.
    """

    prediction_ids: Sequence[bytes]
    keys: Sequence[bytes]
    event_times_ms: npt.NDArray[np.int64]
    revisions: Sequence[int]
    modalities: Sequence[tuple[Modality, ...]]
    places: Iterable[tuple[str, int]]
    offsets: npt.NDArray[np.int64]
    latencies_ms: npt.NDArray[np.int64]


class PredictionEncoder:
    """Encodes the predictions of one model.

    Args:
        header: what stands before the body, as `Codec.prediction_header` has it.
        labels: of the classes, in the order of the probabilities.
        model: its name.
        model_version: its version.
    """

    def __init__(self, header: bytes, labels: Sequence[str], model: str, model_version: str) -> None:
        self._header = header + _varint(UUID_CHARACTERS)
        self._labels = [_text(label) for label in labels]
        self._model = _text(model) + _text(model_version)
        self._inputs: dict[tuple[Modality, ...], bytes] = {}
        self._places = _Places()
        values = [bytes(_FLOAT32_BYTES), _varint(len(labels))]
        self._value_places: list[int] = []
        for label in self._labels:
            values.append(label)
            place = sum(map(len, values))
            self._value_places += range(place, place + _FLOAT32_BYTES)
            values.append(bytes(_FLOAT32_BYTES))
        self._confidences = np.frombuffer(b"".join((*values, _varint(0))), np.uint8)

    def encode(
        self, columns: PredictionColumns, probabilities: npt.NDArray[np.float32], predicted_at_ms: int
    ) -> list[bytes]:
        """Returns the message values of a batch.

        Args:
            columns: the predictions.
            probabilities: float32 [predictions, classes]; the label is that of the largest, which is the confidence.
            predicted_at_ms: the same for all.
        """
        best = probabilities.argmax(axis=1)
        confidences = self._encode_confidences(probabilities)
        times = _varints(columns.event_times_ms)
        sources = list(map(add, map(self._places.__getitem__, columns.places), _varints(columns.offsets)))
        endings = _encode_endings(columns.latencies_ms)
        predicted_at = _varint(predicted_at_ms)
        first_answer = predicted_at + _varint(0)
        values, first = [], 0
        for prediction_id, key, time, revision, label, confidence, modalities, ending in zip(
            columns.prediction_ids,
            columns.keys,
            times,
            columns.revisions,
            best.tolist(),
            confidences,
            columns.modalities,
            endings,
            strict=True,
        ):
            behind = first + len(modalities)
            pieces = (
                self._header,
                prediction_id,
                _varint(len(key)),
                key,
                time,
                predicted_at + _varint(revision) if revision else first_answer,
                self._labels[label],
                confidence,
                self._inputs.get(modalities) or self._encode_inputs(modalities),
                *sources[first:behind],
                ending,
            )
            values.append(b"".join(pieces))
            first = behind
        return values

    def _encode_confidences(self, probabilities: npt.NDArray[np.float32]) -> list[bytes]:
        """Returns the confidence and the map of probabilities of each row."""
        encoded = np.tile(self._confidences, (len(probabilities), 1))
        floats = np.ascontiguousarray(probabilities, "<f4")
        encoded[:, :_FLOAT32_BYTES] = floats.max(axis=1, keepdims=True).view(np.uint8)
        encoded[:, self._value_places] = floats.view(np.uint8)
        return _rows(encoded)

    def _encode_inputs(self, modalities: tuple[Modality, ...]) -> bytes:
        """Returns the modalities, the model, and how many sources follow: one of each modality."""
        count = _varint(len(modalities))
        enums = b"".join(_varint(int(modality)) for modality in modalities)
        return self._inputs.setdefault(modalities, count + enums + b"\0" + self._model + count)


class _Places(dict[tuple[str, int], bytes]):
    """Topics and partitions, encoded when they are first asked for."""

    def __missing__(self, place: tuple[str, int]) -> bytes:
        topic, partition = place
        return self.setdefault(place, _text(topic) + _varint(partition))


def _encode_endings(latencies_ms: npt.NDArray[np.int64]) -> list[bytes]:
    """Returns the end of the sources and the latency of each row."""
    encoded = np.zeros((len(latencies_ms), 1 + _FLOAT32_BYTES), np.uint8)
    encoded[:, 1:] = latencies_ms.astype("<f4")[:, None].view(np.uint8)
    return _rows(encoded)


def _rows(encoded: npt.NDArray[np.uint8]) -> list[bytes]:
    raw, (count, width) = encoded.tobytes(), encoded.shape
    return [raw[start : start + width] for start in range(0, count * width, width)]


_SMALL = 512


def _varint(number: int) -> bytes:
    if 0 <= number < _SMALL:
        return _SMALL_VARINTS[number]
    return _varints(np.array([number], np.int64))[0]


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _varint(len(encoded)) + encoded


def _varints(numbers: npt.NDArray[np.int64]) -> list[bytes]:
    """Returns Avro longs: zigzag, seven bits a byte, lowest first."""
    zigzag = (numbers << 1 ^ numbers >> 63).view(np.uint64)
    width = max(1, -(-int(zigzag.max(initial=0)).bit_length() // 7))
    rest = zigzag[:, np.newaxis] >> _SHIFTS[:width]
    has_more = rest > _DIGIT
    raw = (rest & _DIGIT | has_more * _MORE).astype(np.uint8).tobytes()
    starts, lengths = range(0, len(raw), width), has_more.sum(axis=1) + 1
    return [raw[start : start + length] for start, length in zip(starts, lengths.tolist(), strict=True)]


_SMALL_VARINTS = _varints(np.arange(_SMALL))
