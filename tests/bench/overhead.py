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
        beside: what was measured of the variant that it is compared with, each just before or after one of its own.
    """

    name: str
    traced: bool
    against: str
    extra: Mapping[str, str]
    runs: list[Measured] = field(default_factory=list)
    beside: list[Measured] = field(default_factory=list)

    def program(self) -> Program:
        loop = python("tests.bench.overhead_loop", self.name)
        return Program(loop.name, loop.command, extra=self.extra)


def run(servers: str, runs: int, scale: float) -> None:
    """Measures each variant `runs` times, each time beside the one that it is compared with: machines drift."""
    work = SMALL.scaled(scale)
    plain, traced = own_topics(servers, "plain"), own_topics(servers, "traced")
    fill(plain, work)
    fill(traced, work, headers=trace_headers)

    def run_once(variant: Variant) -> Measured:
        return measure(variant.program(), traced if variant.traced else plain, work.triples, LIMIT_S)

    with collector() as endpoint, scraper() as port:
        variants = list(_variants(endpoint, port))
        run_once(variants[0])  # the first run of a broker is a slow one
        for turn in range(runs):
            for variant in variants[1:]:
                base = _base(variant, variants)
                for is_own in (False, True) if turn % 2 else (True, False):
                    (variant.runs if is_own else variant.beside).append(run_once(variant if is_own else base))
    _show(work, variants)
    keep("overhead", {"work": work.name, "triples": work.triples, "variants": _figures(work, variants)})


def trace_headers(number: int) -> Headers:
    """Returns a trace of its own for each key, and for each event of it."""
    flags = 1 if number % SAMPLED_EVERY == 0 else 0
    return (("traceparent", b"00-%032x-%016x-%02x" % (number + 1, number + 1, flags)),)


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


def _base(variant: Variant, variants: Sequence[Variant]) -> Variant:
    return next(other for other in variants if other.name == variant.against)


def _costs(variant: Variant) -> tuple[list[float], list[float]]:
    """Returns the share of throughput and of processor time that a variant costs, run by run."""
    pairs = list(zip(variant.runs, variant.beside, strict=True))
    return [1 - base.seconds / own.seconds for own, base in pairs], [own.cpu_s / base.cpu_s - 1 for own, base in pairs]


def _figures(work: Work, variants: Sequence[Variant]) -> dict[str, object]:
    return {
        variant.name: {
            "against": variant.against,
            "triples_per_s": [round(work.triples / run.seconds) for run in variant.runs],
            "beside_triples_per_s": [round(work.triples / run.seconds) for run in variant.beside],
            "cpu_us_a_triple": [round(run.cpu_s / work.triples * 1e6, 2) for run in variant.runs],
            "cost_of_throughput": [round(cost, 4) for cost in throughput],
            "cost_of_cpu": [round(cost, 4) for cost in cpu],
        }
        for variant in variants[1:]
        for throughput, cpu in [_costs(variant)]
    }


def _show(work: Work, variants: Sequence[Variant]) -> None:
    table = Table("", "beside", title=f"cost of metrics, traces and logs, {work.triples:,} triples")
    for column in ("triples/s", "beside it", "cost in triples/s", "cost in CPU"):
        table.add_column(column, justify="right")
    for variant in variants[1:]:
        rates, beside = ([work.triples / run.seconds for run in runs] for runs in (variant.runs, variant.beside))
        costs = (spread(cost, ".1%") for cost in _costs(variant))
        table.add_row(variant.name, variant.against, spread(rates), spread(beside), *costs)
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
