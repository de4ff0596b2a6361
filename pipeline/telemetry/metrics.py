"""Every metric: its name, type, labels, unit and meaning, in this one table."""

from collections import Counter as TopicCounts
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from pipeline.settings import MonitoringSettings

REGISTRY = CollectorRegistry()
_MILLISECOND_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000)
_SECOND_STEPS = tuple(step / 1_000 for step in _MILLISECOND_STEPS)
_SIZE_STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024)

RECORDS = Counter(
    "trimodal_records_total", "Source records read, by topic; those read again after a restart too.", ["topic"],
    registry=REGISTRY,
)  # fmt: skip
PREDICTIONS = Counter(
    "trimodal_predictions_total", "Predictions handed to a transaction, by number of inputs.", ["inputs"],
    registry=REGISTRY,
)  # fmt: skip
DEAD_LETTERS = Counter(
    "trimodal_dead_letters_total", "Dead letters handed to a transaction or published, by reason.", ["reason"],
    registry=REGISTRY,
)  # fmt: skip
TRANSACTIONS = Counter(
    "trimodal_transactions_total", "Kafka transactions, by result: committed or aborted.", ["result"],
    registry=REGISTRY,
)  # fmt: skip
PREDICTIONS_OF = {inputs: PREDICTIONS.labels(str(inputs)) for inputs in (1, 2, 3)}
LATENCY = Histogram(
    "trimodal_latency_seconds", "From the broker's timestamp of a prediction's newest source record to its answer.",
    buckets=_SECOND_STEPS, registry=REGISTRY,
)  # fmt: skip
BATCH_SIZE = Histogram(
    "trimodal_batch_size", "Samples in a batch handed to the model.", buckets=_SIZE_STEPS, registry=REGISTRY
)  # fmt: skip
OPEN_WINDOWS = Gauge("trimodal_open_windows", "Keys that wait for more inputs.", registry=REGISTRY)
WAITING_BYTES = Gauge("trimodal_waiting_bytes", "Payload between the source and its outcome.", registry=REGISTRY)
PAUSED_PARTITIONS = Gauge("trimodal_paused_partitions", "Source partitions held back.", registry=REGISTRY)
OFFSET_MAP_CHARACTERS = Gauge(
    "trimodal_offset_map_characters",
    "Largest offset map of the last commit, by topic.",
    ["topic"],
    registry=REGISTRY,
)
OFFSET_MAP_PEAK = Gauge(
    "trimodal_offset_map_peak_characters",
    "Largest offset map since the start; 4,095 is the limit.",
    registry=REGISTRY,
)
LANES = Gauge("trimodal_lanes", "Lanes that this replica owns.", registry=REGISTRY)
DOCUMENTS = Counter(
    "trimodal_documents_total", "Documents sent to Elasticsearch: created, known or rejected.", ["result"],
    registry=REGISTRY,
)  # fmt: skip


def serve(settings: MonitoringSettings) -> int | None:
    """Serves the metrics over HTTP, if enabled; returns the port."""
    if not settings.enable_metrics:
        return None
    server, _ = start_http_server(settings.metrics_port, settings.metrics_host, REGISTRY)
    return int(server.server_port)


def note_records(topics: Iterable[str]) -> None:
    """Records of these topics were read."""
    for topic, count in TopicCounts(topics).items():
        RECORDS.labels(topic).inc(count)


_peak_characters = 0


def note_offset_map(topic: str, characters: int) -> None:
    """An offset map of this many characters is about to be committed."""
    global _peak_characters  # noqa: PLW0603  (Gauge has no maximum of its own)
    _peak_characters = max(_peak_characters, characters)
    OFFSET_MAP_CHARACTERS.labels(topic).set(characters)
    OFFSET_MAP_PEAK.set(_peak_characters)
