"""Every metric: its name, type, labels, unit and meaning, in this one table. docs/metrics.md shows it to people.

Nothing here is called for a single record: what flows is counted by the batch, and what stands (windows, lags,
queues) is sampled once a second by `consumers.vitals`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import numpy.typing as npt
import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from pipeline.events.records import Reason
from pipeline.telemetry.instruments import BatchHistogram, SampledGauge

prometheus_client.disable_created_metrics()
_REASONS = {reason.value for reason in Reason}
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024)


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table."""

    name: str
    kind: str
    labels: tuple[str, ...]
    unit: str
    meaning: str


TABLE: list[Metric] = []


def _row(kind: str, name: str, unit: str, meaning: str, labels: Sequence[str]) -> Metric:
    row = Metric(name, kind, tuple(labels), unit, meaning)
    TABLE.append(row)
    return row


def _counter(name: str, unit: str, meaning: str, *labels: str) -> Counter:
    _row("counter", name, unit, meaning, labels)
    return Counter(name, meaning, labels, registry=REGISTRY)


def _gauge(name: str, unit: str, meaning: str) -> Gauge:
    _row("gauge", name, unit, meaning, ())
    return Gauge(name, meaning, registry=REGISTRY)


def _sampled(name: str, unit: str, meaning: str, *labels: str) -> SampledGauge:
    _row("gauge", name, unit, meaning, labels)
    return SampledGauge(name, meaning, labels, REGISTRY)


def _histogram(name: str, unit: str, meaning: str, steps: Sequence[float], *labels: str) -> Histogram:
    _row("histogram", name, unit, meaning, labels)
    return Histogram(name, meaning, labels, buckets=steps, registry=REGISTRY)


# What flows.
RECORDS = _counter(
    "trimodal_records_total", "records", "Records read of a topic; those read again after a restart too.", "topic"
)
OUTCOMES = _counter(
    "trimodal_outcomes_total",
    "records",
    "Source records that have their outcome: `joined`, `partial`, `amended`, or a dead letter's reason.",
    "topic",
    "outcome",
)
PREDICTIONS = _counter(
    "trimodal_predictions_total", "predictions", "Predictions handed to a transaction, by number of inputs.", "inputs"
)
DEAD_LETTERS = _counter(
    "trimodal_dead_letters_total", "records", "Dead letters handed to a transaction or published.", "reason"
)
_row(
    "histogram",
    "trimodal_latency_seconds",
    "seconds",
    "From the broker's timestamp of a prediction's newest source record to its commit.",
    ("inputs",),
)
LATENCY = BatchHistogram(TABLE[-1].name, TABLE[-1].meaning, TABLE[-1].labels, _SECONDS, REGISTRY)

# The model.
BATCH_SIZE = _histogram("trimodal_batch_size", "samples", "Samples in a batch handed to the model.", _SIZES)
MODEL_SECONDS = _histogram(
    "trimodal_model_seconds",
    "seconds",
    "From the start of a batch, or of a worker's part of it, in the model to its answer; they overlap.",
    _SECONDS,
)
QUEUE_WAIT = _histogram(
    "trimodal_queue_wait_seconds",
    "seconds",
    "How long a batch's oldest sample waited for it to leave (`batch`), it for the model (`model`), and the oldest "
    "output for its transaction (`commit`).",
    _SECONDS,
    "queue",
)
BATCH_WAIT, COMMIT_WAIT = QUEUE_WAIT.labels("batch"), QUEUE_WAIT.labels("commit")
QUEUE_LENGTH = _sampled(
    "trimodal_queue_length",
    "samples, batches, outputs",
    "What waits: samples for a batch (`batch`), batches in flight (`model`), outputs for a transaction (`commit`).",
    "queue",
)

# The join.
LANES = _gauge("trimodal_lanes", "lanes", "Lanes that this replica owns.")
OPEN_WINDOWS = _gauge("trimodal_open_windows", "keys", "Keys that wait for more inputs.")
WAITING_BYTES = _gauge("trimodal_waiting_bytes", "bytes", "Payload between the source and its outcome.")
KEPT_BYTES = _gauge("trimodal_kept_bytes", "bytes", "Payload of finished records, kept for amendments.")
WATERMARK_LAG = _sampled(
    "trimodal_watermark_lag_seconds", "seconds", "How far a lane's watermark is behind the clock.", "lane"
)
CONSUMER_LAG = _sampled(
    "trimodal_consumer_lag_records",
    "records",
    "Records of a partition still to be read, as of its last fetch.",
    "topic",
    "partition",
)
PAUSED_PARTITIONS = _gauge("trimodal_paused_partitions", "partitions", "Source partitions held back now.")
PAUSES = _counter("trimodal_pauses_total", "pauses", "Times that a source partition was held back.")

# The commits.
TRANSACTIONS = _counter("trimodal_transactions_total", "transactions", "Kafka transactions that ended.", "result")
COMMIT_SECONDS = _histogram(
    "trimodal_commit_seconds", "seconds", "A transaction from begin to commit or abort.", _SECONDS, "result"
)
LAST_COMMIT = _gauge(
    "trimodal_last_commit_timestamp_seconds", "seconds since 1970", "When the last commit went through; 0 before it."
)
OFFSET_MAP_BYTES = _sampled(
    "trimodal_offset_map_bytes", "bytes", "The offset map last committed for a partition.", "topic", "partition"
)
OFFSET_MAP_RATIO = _sampled(
    "trimodal_offset_map_ratio", "ratio", "A lane's largest offset map as a share of Kafka's limit.", "lane"
)
OFFSET_MAP_PEAK = _gauge("trimodal_offset_map_peak_ratio", "ratio", "The largest such share since the start.")

# The indexer.
DOCUMENTS = _counter(
    "trimodal_documents_total",
    "documents",
    "Documents sent to Elasticsearch: `created`, `known`, `rejected`, or to be sent again `later`.",
    "result",
)
BULK_SECONDS = _histogram("trimodal_bulk_seconds", "seconds", "Elasticsearch's time for one bulk request.", _SECONDS)

# The statistics.
COUNTED = _counter(
    "trimodal_statistics_predictions_total",
    "predictions",
    "Predictions read for the statistics: `counted`, `known` (read again), `late`, `ahead` of the clock, `unusable`.",
    "outcome",
)

# The process.
READY = _gauge("trimodal_ready", "0 or 1", "Whether /readyz says yes.")
BUILD = _sampled(
    "trimodal_build_info",
    "1",
    "What runs here.",
    "program",
    "version",
    "model",
    "model_version",
    "device",
)
_row(
    "gauge",
    "trimodal_gpu_memory_bytes",
    "bytes",
    "Memory of the GPU: `allocated` and `reserved` by this process, `used` by all, and in `total`.",
    ("device", "kind"),
)
_GPU_MEMORY = TABLE[-1]


class _GpuMemory(Collector):
    """Asks the GPU when it is scraped."""

    def __init__(self, device: str, ask: Callable[[], Mapping[str, int]]) -> None:
        self._device, self._ask = device, ask

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(_GPU_MEMORY.name, _GPU_MEMORY.meaning, labels=_GPU_MEMORY.labels)
        for kind, size in self._ask().items():
            family.add_metric((self._device, kind), size)
        return (family,)


def watch_gpu(device: str, ask: Callable[[], Mapping[str, int]]) -> Collector:
    """Shows the GPU's memory from now on; returns what was registered for that.

    Args:
        device: its name.
        ask: returns bytes by kind; called from the server's threads.
    """
    collector = _GpuMemory(device, ask)
    REGISTRY.register(collector)
    return collector


def note_build(program: str, model: str = "", model_version: str = "", device: str = "") -> None:
    """Says what runs in this process."""
    BUILD.replace({(program, _own_version(), model, model_version, device): 1})


def note_predictions(inputs: npt.NDArray[np.int64]) -> None:
    """Predictions from so many inputs each were handed to a transaction."""
    for count, predictions in enumerate(np.bincount(inputs).tolist()):
        if predictions:
            PREDICTIONS.labels(str(count)).inc(predictions)


def note_latencies(inputs: npt.NDArray[np.int64], latencies_ms: npt.NDArray[np.int64]) -> None:
    """Predictions from so many inputs each were committed, so long after the newest input came."""
    for count in np.flatnonzero(np.bincount(inputs)).tolist():
        LATENCY.observe(latencies_ms[inputs == count] / 1_000, str(count))


def note_outcomes(outcomes: Mapping[tuple[str, str], int]) -> None:
    """So many source records have their outcomes, by topic and outcome."""
    for (topic, outcome), records in outcomes.items():
        OUTCOMES.labels(topic, outcome).inc(records)
        if outcome in _REASONS:
            DEAD_LETTERS.labels(outcome).inc(records)


def _own_version() -> str:
    try:
        return version("trimodal")
    except PackageNotFoundError:
        return "unknown"
