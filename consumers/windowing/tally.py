"""What is counted of a group of predictions, in a form that can be added up and kept."""

from dataclasses import dataclass
from typing import Any, Self

from ddsketch.ddsketch import BaseDDSketch
from ddsketch.mapping import LogarithmicMapping
from ddsketch.store import DenseStore

from pipeline.events.records import Modality, Prediction, Statistic

RELATIVE_ACCURACY = 0.01
_MAPPING = LogarithmicMapping(RELATIVE_ACCURACY)

Fields = list[Any]


@dataclass(frozen=True, slots=True)
class Group:
    """What predictions have in common that are counted together."""

    label: str
    model_version: str
    modalities: tuple[Modality, ...]

    @classmethod
    def of(cls, prediction: Prediction) -> Self:
        """Returns the group of a prediction."""
        return cls(prediction.label, prediction.model_version, prediction.modalities)

    def to_fields(self) -> Fields:
        """Returns it as JSON has it."""
        return [self.label, self.model_version, *map(int, self.modalities)]

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Returns what `to_fields` was given."""
        label, model_version, *modalities = fields
        return cls(label, model_version, tuple(map(Modality, modalities)))


class Tally:
    """Count, confidences and latencies of some predictions.

    Latencies go into a DDSketch (Masson, Rim and Lee, "DDSketch", VLDB 2019): bins whose bounds grow by a constant
    factor, so that a quantile is within 1 % of its value. Two sketches are merged by adding up their bins, so the
    result does not depend on the order, nor on how the predictions were spread over partitions and windows.
    """

    def __init__(self) -> None:
        self.count = 0
        self._confidence_sum = 0.0
        self._use(DenseStore(), DenseStore(), 0.0)

    def add(self, confidence: float, latency_ms: float) -> None:
        """Counts one prediction; both numbers are finite."""
        self.count += 1
        self._confidence_sum += confidence
        self._latencies.add(latency_ms)

    def merge(self, other: Self) -> None:
        """Counts all that the other has counted."""
        self.count += other.count
        self._confidence_sum += other._confidence_sum
        self._latencies.merge(other._latencies)

    def copy(self) -> Self:
        """Returns another one that has counted the same."""
        twin = type(self)()
        twin.merge(self)
        return twin

    def statistic(self, start_ms: int, end_ms: int, group: Group) -> Statistic:
        """Returns what is published of it for a window [start_ms, end_ms)."""
        return Statistic(
            window_start_ms=start_ms,
            window_end_ms=end_ms,
            model_version=group.model_version,
            label=group.label,
            modalities=group.modalities,
            count=self.count,
            mean_confidence=self._confidence_sum / self.count if self.count else 0.0,
            latency_p50_ms=self._quantile(0.50),
            latency_p99_ms=self._quantile(0.99),
        )

    def to_fields(self) -> Fields:
        """Returns it as JSON has it: sketches as pairs of bin and count."""
        zeros = self.count - int(self._positive.count) - int(self._negative.count)
        return [self.count, self._confidence_sum, _bins(self._positive), _bins(self._negative), zeros]

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Returns what `to_fields` was given."""
        tally = cls()
        tally.count, tally._confidence_sum, positive, negative, zeros = fields
        tally._use(_store(positive), _store(negative), float(zeros))
        return tally

    def _use(self, positive: DenseStore, negative: DenseStore, zeros: float) -> None:
        self._positive, self._negative = positive, negative
        self._latencies = BaseDDSketch(_MAPPING, positive, negative, zeros)

    def _quantile(self, quantile: float) -> float:
        return float(self._latencies.get_quantile_value(quantile) or 0.0)


def _bins(store: DenseStore) -> list[list[int]]:
    return [[store.offset + place, int(count)] for place, count in enumerate(store.bins) if count]


def _store(bins: list[list[int]]) -> DenseStore:
    store = DenseStore()
    for key, count in bins:
        store.add(key, float(count))
    return store
