"""What metrics, traces and logs cost: the pipeline with and without them, in turn over the same backlog."""

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

from rich.console import Console
from rich.table import Table

from pipeline.events.records import Headers
from tests.bench.backlog import SMALL, Work, fill
from tests.bench.broker import own_topics
from tests.bench.comparison import spread
from tests.bench.overhead_loop import METRICS
from tests.bench.programs import Measured, Program, measure, python
from tests.bench.report import keep

LIMIT_S = 180.0
SCRAPE_S = 1.0
SAMPLED_EVERY = 100
LOGS = {"TRIMODAL_MONITORING__LOG_LEVEL": "INFO", "TRIMODAL_MONITORING__LOG_FORMAT": "json"}
_out = Console()


@dataclass(slots=True)
class Variant:
    """One way to run the pipeline.

    Attributes:
        name: in the report.
        traced: whether the events come with a `traceparent`, of which one in `SAMPLED_EVERY` is sampled.
        against: the variant that it is compared with; its own name for those that are not.
        extra: its environment.
        runs: what was measured.
    """

    name: str
    traced: bool
    against: str
    extra: Mapping[str, str]
    runs: list[Measured] = field(default_factory=list)

    def program(self) -> Program:
        loop = python("tests.bench.overhead_loop", self.name)
        return Program(loop.name, loop.command, extra=self.extra)

    def cpu_us(self, triples: int) -> list[float]:
        return [run.cpu_s / triples * 1e6 for run in self.runs]


def run(servers: str, runs: int, scale: float) -> None:
    """Measures each variant `runs` times, in turn."""
    work = SMALL.scaled(scale)
    plain, traced = own_topics(servers, "plain"), own_topics(servers, "traced")
    fill(plain, work)
    fill(traced, work, headers=trace_headers)
    with collector() as endpoint, scraper() as port:
        variants = list(_variants(endpoint, port))
        measure(variants[0].program(), plain, work.triples, LIMIT_S)  # the first run of a broker is a slow one
        for turn in range(runs):
            for variant in _rotated(variants, turn):
                settings = traced if variant.traced else plain
                variant.runs.append(measure(variant.program(), settings, work.triples, LIMIT_S))
    _show(work, variants)
    keep("overhead", {"work": work.name, "triples": work.triples, "variants": _figures(work, variants)})


def trace_headers(number: int) -> Headers:
    """Returns a trace of its own for each key, and for each event of it."""
    flags = 1 if number % SAMPLED_EVERY == 0 else 0
    return (("traceparent", b"00-%032x-%016x-%02x" % (number + 1, number + 1, flags)),)


def _rotated(variants: Sequence[Variant], turn: int) -> Sequence[Variant]:
    """Returns them with another one first in each turn: none always runs after the same one."""
    first = turn % len(variants)
    return [*variants[first:], *variants[:first]]


def _variants(endpoint: str, port: int) -> Iterator[Variant]:
    off = {METRICS: "off"}
    serving = {"TRIMODAL_MONITORING__ENABLE_METRICS": "true", "TRIMODAL_MONITORING__METRICS_PORT": str(port)}
    on = {METRICS: "on", **serving}
    spans = {"TRIMODAL_MONITORING__TRACING_ENDPOINT": endpoint}
    yield Variant("nothing", traced=False, against="nothing", extra=off)
    yield Variant("metrics", traced=False, against="nothing", extra=on)
    yield Variant("logs", traced=False, against="nothing", extra=off | LOGS)
    yield Variant("spans on, no traces", traced=False, against="nothing", extra=off | spans)
    yield Variant("traces, spans off", traced=True, against="nothing", extra=off)
    yield Variant(f"traces, 1 in {SAMPLED_EVERY} a span", traced=True, against="traces, spans off", extra=off | spans)
    yield Variant("all of it", traced=True, against="traces, spans off", extra=on | spans | LOGS)


def _costs(variant: Variant, variants: Sequence[Variant]) -> tuple[list[float], list[float]]:
    """Returns the share of throughput and of processor time that a variant costs, run by run."""
    (base,) = (other for other in variants if other.name == variant.against)
    pairs = list(zip(variant.runs, base.runs, strict=True))
    return [1 - b.seconds / v.seconds for v, b in pairs], [v.cpu_s / b.cpu_s - 1 for v, b in pairs]


def _figures(work: Work, variants: Sequence[Variant]) -> dict[str, object]:
    return {
        variant.name: {
            "against": variant.against,
            "triples_per_s": [round(work.triples / run.seconds) for run in variant.runs],
            "cpu_us_a_triple": [round(figure, 2) for figure in variant.cpu_us(work.triples)],
            "cost_of_throughput": [round(cost, 4) for cost in throughput],
            "cost_of_cpu": [round(cost, 4) for cost in cpu],
        }
        for variant in variants
        for throughput, cpu in [_costs(variant, variants)]
    }


def _show(work: Work, variants: Sequence[Variant]) -> None:
    table = Table("", "against", title=f"cost of metrics, traces and logs, {work.triples:,} triples")
    for column in ("triples/s", "CPU us a triple", "of throughput", "of CPU"):
        table.add_column(column, justify="right")
    for variant in variants:
        throughput, cpu = _costs(variant, variants)
        rates = [work.triples / run.seconds for run in variant.runs]
        costs = ("", "") if variant.against == variant.name else (spread(throughput, ".1%"), spread(cpu, ".1%"))
        table.add_row(variant.name, variant.against, spread(rates), spread(variant.cpu_us(work.triples), ".1f"), *costs)
    _out.print(table)


@contextmanager
def scraper() -> Iterator[int]:
    """Fetches the metrics every second from whoever serves them on a port, as Prometheus would; yields the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    stop = threading.Event()

    def scrape() -> None:
        while not stop.wait(SCRAPE_S):
            with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/metrics", timeout=SCRAPE_S) as answer:
                answer.read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield port
    finally:
        stop.set()
        thread.join()


@contextmanager
def collector() -> Iterator[str]:
    """Takes spans over HTTP and forgets them; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
