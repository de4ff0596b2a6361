"""From a published event to its committed prediction, at a quarter of the saturated rate.

The clock starts when a triple is handed to the publisher's client, which is set as the shipped one is, and ends
when a reader outside with `isolation.level=read_committed` has the prediction: that is after the commit marker, since a
broker hands nothing of an open transaction to such a reader. (The LogAppendTime of a prediction would be too early, by
the rest of its transaction.) Publisher, broker, pipeline and reader share one machine, its clock and its cores.

The yardstick is a bare transaction in the same run: 64 records and the offsets of the sources' partitions, from
`begin_transaction` to the return of `commit_transaction`.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console

from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.groups import assigned
from pipeline.settings import KafkaSettings, Settings
from tests.bench.backlog import REALISTIC, SMALL, Work, fill
from tests.bench.bare_loop import connect
from tests.bench.broker import ROOT, own_topics
from tests.bench.comparison import spread
from tests.bench.live import published_at
from tests.bench.programs import environment, measure, python
from tests.bench.report import keep
from tests.bench.stub import BATCH

SHARE = 0.25
WARM_UP_S = 4.0
LONG_S = 20.0
TRANSACTIONS = 200
SATURATED = 0.5  # of the work is enough to find the saturated rate
LIMIT_S = 180.0
STARTED_S = 60.0
_out = Console()


def run(servers: str, runs: int, scale: float) -> None:
    """Measures bare transactions, the saturated rate, and the latencies at a quarter of it."""
    for work in (SMALL, REALISTIC):
        rate = SHARE * _saturated(servers, work.scaled(scale * SATURATED))
        bare_ms = bare_transactions(own_topics(servers, "bare"))  # not before: the broker's code is compiled by use
        latencies = [latencies_ms(own_topics(servers, work.name), work, rate, LONG_S * scale) for _ in range(runs)]
        p50, p99 = ([float(np.percentile(found, rank)) for found in latencies] for rank in (50, 99))
        bare = statistics.median(bare_ms)
        for name, found in (("p50", p50), ("p99", p99)):
            times = [value / bare for value in found]
            _out.print(f"{work.name}: {name} {spread(found, '.1f')} ms, {spread(times, '.1f')} x a bare transaction")
        keep(
            "latency",
            {
                "work": work.name,
                "triples_per_s": round(rate),
                "triples": [len(found) for found in latencies],
                "p50_ms": [round(value, 2) for value in p50],
                "p99_ms": [round(value, 2) for value in p99],
                "bare_transaction_ms": round(bare, 2),
            },
        )


def bare_transactions(settings: Settings) -> list[float]:
    """Returns how long each of many transactions of one batch took, ms."""
    TopicAdmin(settings.kafka, settings.topics).create()
    consumer, producer = connect(settings.kafka.bootstrap_servers, f"{settings.topics.prefix}bare")
    sources = [(topic, number) for topic in settings.topics.sources for number in range(settings.topics.partitions)]
    taken = []
    for turn in range(TRANSACTIONS):
        begin = time.perf_counter()
        producer.begin_transaction()
        records = [{"key": b"%d" % n, "value": b"%d" % turn} for n in range(BATCH)]
        producer.produce_batch(settings.topics.predictions, records)
        offsets = [TopicPartition(topic, number, turn) for topic, number in sources]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
        producer.commit_transaction()
        taken.append((time.perf_counter() - begin) * 1_000)
    consumer.close()
    return taken[TRANSACTIONS // 10 :]


def latencies_ms(settings: Settings, work: Work, rate: float, seconds: float) -> list[float]:
    """Runs the pipeline on live triples for a while; returns the latency of each, ms."""
    TopicAdmin(settings.kafka, settings.topics).create()
    partitions = [TopicPartition(settings.topics.predictions, n, 0) for n in range(settings.topics.partitions)]
    reader = Consumer(
        {
            "bootstrap.servers": settings.kafka.bootstrap_servers,
            "group.id": "bench-latency",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    reader.assign(partitions)
    sizes = [str(size) for size in work.payload_bytes]
    own = environment(settings)
    with _running(own, "tests.bench.pipeline_loop"):
        _await_member(settings.kafka, own["TRIMODAL_KAFKA__GROUP"])
        with _running(own, "tests.bench.live", str(rate), *sizes):
            found = _latencies_ms(reader, seconds)
    reader.close()
    return found


def _latencies_ms(reader: Consumer, seconds: float) -> list[float]:
    found: list[float] = []
    warm = None
    while warm is None or time.time() < warm + WARM_UP_S + seconds:
        first = reader.poll(1.0)
        if first is None:
            continue
        messages = [first, *reader.consume(10_000, 0)]
        now = time.time()
        warm = warm or now
        if now > warm + WARM_UP_S:
            found += [(now - published_at(message.key() or b"")) * 1_000 for message in messages]
    return found


def _await_member(kafka: KafkaSettings, group: str) -> None:
    """Waits until the pipeline has its partitions: what came while it starts would be worked off first."""
    deadline = time.monotonic() + STARTED_S
    while not assigned(kafka, group):
        assert time.monotonic() < deadline, f"the pipeline has not joined its group in {STARTED_S} s"


def _saturated(servers: str, work: Work) -> float:
    backlog = fill(own_topics(servers, work.name), work)
    measured = measure(python("tests.bench.pipeline_loop", "trimodal"), backlog.settings, work.triples, LIMIT_S)
    return work.triples / measured.seconds


@contextmanager
def _running(own: Mapping[str, str], module: str, *arguments: str) -> Iterator[None]:
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=own, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60.0)
