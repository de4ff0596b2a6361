"""The shipped model through the whole consumer, beside the bare network on ready tensors, in the same run.

The events are those of the demo: WAV, FLAC and bare PCM speech, PNG and JPEG pictures, pens. Consumer and broker share
the cores; the bare network has them to itself.
"""

import json
import subprocess
import sys
import time
from itertools import repeat

from rich.console import Console

from pipeline.digits.replay import triples
from pipeline.events.codec import Codec
from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.producer import RecordProducer
from pipeline.settings import Settings
from producers.digits import Plan, Replay
from tests.bench.broker import ROOT, own_topics
from tests.bench.comparison import spread
from tests.bench.programs import measure, python
from tests.bench.report import keep

TRIPLES = 8_000
BARE_SAMPLES = 2_048
LIMIT_S = 120.0
_out = Console()


def run(servers: str, runs: int, scale: float) -> None:
    """Measures the bare network and the consumer in turn."""
    count = max(256, round(TRIPLES * scale))
    settings = own_topics(servers, "model")
    publish(settings, count)
    bare: dict[str, list[float]] = {}
    whole, cpu = [], []
    for _ in range(runs):
        for way, rate in _bare(max(256, round(BARE_SAMPLES * scale))).items():
            bare.setdefault(way, []).append(rate)
        measured = measure(python("tests.bench.model_loop", "trimodal with its model"), settings, count, LIMIT_S)
        whole.append(count / measured.seconds)
        cpu.append(measured.cpu_s / count * 1_000)
    for way, rates in bare.items():
        ratios = [one / other for one, other in zip(whole, rates, strict=True)]
        _out.print(f"{way}: {spread(rates)} samples/s; the consumer {spread(whole)}: {spread(ratios, '.2f')} x")
    keep(
        "model",
        {
            "triples": count,
            "bare_samples_per_s": {way: [round(rate) for rate in rates] for way, rates in bare.items()},
            "triples_per_s": [round(rate) for rate in whole],
            "cpu_s_per_1000": [round(value, 3) for value in cpu],
        },
    )


def publish(settings: Settings, count: int) -> None:
    """Publishes so many triples of held-out digits, all of them whole."""
    TopicAdmin(settings.kafka, settings.topics).create()
    now_ms = time.time_ns() // 1_000_000
    plan = Plan(Replay("bench", count), triples(count, seed=1), repeat(now_ms), settings.topics, Codec())
    with RecordProducer(settings.kafka, "bench", 1 << 20) as producer:
        for planned in plan:
            producer.publish(planned.output)


def _bare(samples: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.bare_model", str(samples)]
    process = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    rates: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return rates
