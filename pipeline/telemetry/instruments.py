"""Two instruments that Prometheus's client lacks: a histogram fed by the batch, and a gauge replaced as a whole."""

import threading
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

LabelValues = tuple[str, ...]


class BatchHistogram(Collector):
    """A histogram that takes many values in two array calls.

    Args:
        name: as Prometheus shows it, without `_bucket`.
        meaning: a sentence.
        labels: names of its labels.
        steps: upper bounds of its buckets, rising; the last, infinite one is added.
        registry: where it is to be collected.
    """

    def __init__(
        self, name: str, meaning: str, labels: Sequence[str], steps: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name, self._meaning, self._labels = name, meaning, tuple(labels)
        self._bounds = np.asarray(steps, np.float64)
        self._lock = threading.Lock()
        self._counts: dict[LabelValues, npt.NDArray[np.int64]] = {}
        self._sums: dict[LabelValues, float] = {}
        registry.register(self)

    def observe(self, values: npt.ArrayLike, *labels: str) -> None:
        """Takes values in, all under the same labels."""
        observed = np.asarray(values, np.float64)
        places = np.searchsorted(self._bounds, observed)
        counts = np.bincount(places, minlength=len(self._bounds) + 1)
        with self._lock:
            if labels not in self._counts:
                self._counts[labels] = np.zeros(len(self._bounds) + 1, np.int64)
                self._sums[labels] = 0.0
            self._counts[labels] += counts
            self._sums[labels] += float(observed.sum())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Returns the cumulative buckets, for Prometheus."""
        with self._lock:
            taken = {labels: (counts.cumsum().tolist(), self._sums[labels]) for labels, counts in self._counts.items()}
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        bounds = [floatToGoString(bound) for bound in (*self._bounds.tolist(), float("inf"))]
        for labels, (counts, total) in taken.items():
            family.add_metric(labels, list(zip(bounds, counts, strict=True)), total)
        yield family


class SampledGauge(Collector):
    """A gauge whose series are replaced together, so that those of a lane which has gone elsewhere are gone too."""

    def __init__(self, name: str, meaning: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._name, self._meaning, self._labels = name, meaning, tuple(labels)
        self._values: Mapping[LabelValues, float] = {}
        registry.register(self)

    def replace(self, values: Mapping[LabelValues, float]) -> None:
        """Shows these values from now on, and no others."""
        self._values = dict(values)

    @property
    def values(self) -> Mapping[LabelValues, float]:
        """What it shows now."""
        return self._values

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Returns the values, for Prometheus."""
        family = GaugeMetricFamily(self._name, self._meaning, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family
