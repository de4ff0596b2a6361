"""The indexer beside a bare bulk loop, over the same backlog in one run."""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from pipeline.events.codec import Codec
from pipeline.events.records import Modality, Prediction, SourceOffset
from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.contract import Output
from pipeline.kafka.producer import RecordProducer
from pipeline.search.client import connect
from pipeline.search.installation import install
from pipeline.settings import Settings, load
from pipeline.stack import StackAddresses
from tests.bench.broker import ROOT
from tests.bench.programs import peak_mb
from tests.bench.report import keep

PREDICTIONS = 60_000
LABELS = 10
LOOPS = {"bare loop": "tests.bench.bare_indexing", "indexer": "tests.bench.indexer_loop"}
_out = Console()

Figures = dict[str, float]


def told(documents: int, seconds: float) -> None:
    """Prints what a loop has measured of itself, for the process that started it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "documents_per_s": round(documents / seconds),
        "cpu_s_per_1000": round((usage.ru_utime + usage.ru_stime) / documents * 1_000, 4),
        "peak_rss_mb": peak_mb("self"),
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def predictions(count: int, begin_ms: int) -> Iterator[Prediction]:
    """Yields predictions as the digits model makes them, a millisecond apart."""
    probabilities = {str(label): (1 + label) / 55 for label in range(LABELS)}
    for number in range(count):
        sources = tuple(SourceOffset(m.name.lower(), number % 6, number // 6) for m in Modality)
        yield Prediction(
            prediction_id=f"00000000-0000-5000-8000-{number:012d}",
            key=f"key-{number}",
            event_time_ms=begin_ms + number,
            predicted_at_ms=begin_ms + number + 41,
            revision=0,
            label=str(number % LABELS),
            confidence=probabilities[str(number % LABELS)],
            probabilities=probabilities,
            modalities=tuple(Modality),
            model="digits-small",
            model_version="1.0.0",
            sources=sources,
            latency_ms=41.25,
        )


def fill(settings: Settings, count: int) -> None:
    """Makes the topics and publishes the predictions."""
    TopicAdmin(settings.kafka, settings.topics).create()
    codec = Codec()
    with RecordProducer(settings.kafka, "bench", 1 << 20) as producer:
        for prediction in predictions(count, time.time_ns() // 1_000_000 - count):
            value = codec.encode_prediction(prediction)
            producer.publish(Output(settings.topics.predictions, prediction.key.encode(), value))


def measure(module: str, settings: Settings, count: int) -> Figures:
    """Runs one loop as a process with a group and an alias of its own; returns its figures."""
    name = f"bench-{time.time_ns()}"
    elasticsearch = settings.elasticsearch.model_copy(update={"alias": name})
    client = connect(elasticsearch)
    install(client, elasticsearch)
    environment = {
        **os.environ,
        "TRIMODAL_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "TRIMODAL_KAFKA__GROUP": name,
        "TRIMODAL_TOPICS__PREFIX": settings.topics.prefix,
        "TRIMODAL_ELASTICSEARCH__URL": elasticsearch.url,
        "TRIMODAL_ELASTICSEARCH__ALIAS": name,
        "TRIMODAL_MONITORING__ENABLE_METRICS": "false",
        "TRIMODAL_MONITORING__LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", module, str(count)]
    process = subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    indices = list(client.indices.get(index=f"{name}-*"))
    client.indices.refresh(index=indices)
    there = client.count(index=indices)["count"]
    if there != count:
        raise AssertionError(f"{module} has indexed {there:,} of {count:,} documents")
    for index in indices:
        client.indices.delete(index=index)
    figures: Figures = json.loads(process.stdout.splitlines()[-1])
    return figures


def compare(settings: Settings, count: int, runs: int) -> None:
    """Measures both loops in turn over the same backlog; prints the medians and the ratio run by run."""
    with _out.status(f"Publishing {count:,} predictions"):
        fill(settings, count)
    with _out.status("Warming the servers up"):
        measure(LOOPS["bare loop"], settings, count)
    figures: dict[str, list[Figures]] = {name: [] for name in LOOPS}
    for run in range(runs):
        with _out.status(f"run {run + 1} of {runs}"):
            for name, module in LOOPS.items():
                figures[name].append(measure(module, settings, count))
    pairs = zip(*figures.values(), strict=True)
    ratios = [ours["documents_per_s"] / bare["documents_per_s"] for bare, ours in pairs]
    table = Table("", "documents/s", "CPU s per 1,000", "peak MB", title=f"{count:,} predictions, {runs} runs")
    for name, measured in figures.items():
        medians = [statistics.median(entry[key] for entry in measured) for key in measured[0]]
        table.add_row(name, f"{medians[0]:,.0f}", f"{medians[1]:.3f}", f"{medians[2]:,.0f}")
    _out.print(table)
    _out.print(f"ratio {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")
    keep("indexer", {"predictions": count, **figures, "ratios": ratios})


def run(stack: StackAddresses, runs: int, scale: float) -> None:
    """Measures both loops on a stack."""
    sections = {
        "kafka": {"bootstrap_servers": stack.bootstrap_servers},
        "elasticsearch": {"url": stack.elasticsearch_url},
        "topics": {"prefix": f"indexer-{time.time_ns()}."},
    }
    compare(load(None, sections).settings, round(PREDICTIONS * scale), runs)
