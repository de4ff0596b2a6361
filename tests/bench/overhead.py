"""What metrics and traces cost.

Metrics and spans are switched on and off by turns within one run: from one run to the next this kind of machine
varies by more than they cost. What it costs to carry a trace is seen beside events that have none.
"""

import json
import statistics
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rich.console import Console
from rich.table import Table

from pipeline.events.records import Headers
from pipeline.settings import Settings
from tests.bench.backlog import SMALL, fill
from tests.bench.broker import own_topics
from tests.bench.comparison import spread, standard_error
from tests.bench.overhead_loop import SWITCH, Turn
from tests.bench.programs import LOGS, Program, measure, python
from tests.bench.report import keep

LIMIT_S = 180.0
SAMPLED_EVERY = 100
TIMES_THE_WORK = 4
# Most spans are sent in the turn that they are made in.
SENT_SOON = {"OTEL_BSP_SCHEDULE_DELAY": "500"}
_out = Console()


def run(servers: str, runs: int, scale: float) -> None:
    """Measures each `runs` times."""
    work = SMALL.scaled(TIMES_THE_WORK * scale)
    plain, traced = own_topics(servers, "plain"), own_topics(servers, "traced")
    fill(plain, work)
    fill(traced, work, headers=trace_headers)
    loop, bare = python("tests.bench.pipeline_loop", "carried"), python("tests.bench.bare_loop", "bare loop")
    bare_carrying = python("tests.bench.bare_loop", "bare loop", "carry")
    measure(loop, plain, work.triples, LIMIT_S)  # the first run of a broker is a slow one
    metrics: list[float] = []
    spans: list[float] = []
    carried: list[float] = []
    carried_by_bare: list[float] = []
    with collector() as endpoint:
        sending = {"TRIMODAL_MONITORING__TRACING_ENDPOINT": endpoint, **SENT_SOON}
        for _ in range(runs):
            metrics += _costs("metrics", {"TRIMODAL_MONITORING__ENABLE_METRICS": "true"}, plain, work.triples)
            spans += _costs("spans", sending, traced, work.triples)
            carried.append(_cost((loop, traced), (loop, plain), work.triples))
            carried_by_bare.append(_cost((bare_carrying, traced), (bare, plain), work.triples))
    record = {
        "metrics, scraped every second": metrics,
        f"spans, for one trace in {SAMPLED_EVERY}": spans,
        "a traceparent carried by every event": carried,
        "the same in the bare loop": carried_by_bare,
    }
    _show(record)
    keep("overhead", {"work": work.name, "triples": work.triples, "costs": record})


def _cost(with_it: tuple[Program, Settings], without: tuple[Program, Settings], triples: int) -> float:
    """Returns the share of throughput that a program on some topics lacks beside another."""
    lasting, plain = (measure(loop, topics, triples, LIMIT_S).seconds for loop, topics in (with_it, without))
    return round(1 - plain / lasting, 4)


def trace_headers(number: int) -> Headers:
    """Returns a trace of its own for each key, and for each event of it."""
    flags = 1 if number % SAMPLED_EVERY == 0 else 0
    return (("traceparent", b"00-%032x-%016x-%02x" % (number + 1, number + 1, flags)),)


def _costs(switch: str, extra: Mapping[str, str], settings: Settings, triples: int) -> list[float]:
    """Returns the share of throughput that each turn with it cost in one run, beside the turns before and after it."""
    loop = python("tests.bench.overhead_loop", switch)
    measure(Program(loop.name, loop.command, extra={SWITCH: switch, **extra}), settings, triples, LIMIT_S)
    told = (LOGS / f"{switch}-0.out").read_text(encoding="utf-8").splitlines()[-1]
    # The first turn sees the client fill its queues, the last one with predictions sees the backlog end.
    turns = [turn for turn in (Turn(*fields) for fields in json.loads(told)["turns"]) if turn.predictions][1:-1]
    neighbours = zip(turns, turns[1:], turns[2:], strict=False)
    return [
        round(1 - 2 * turn.rate / (before.rate + after.rate), 4) for before, turn, after in neighbours if turn.is_on
    ]


def _show(record: Mapping[str, Sequence[float]]) -> None:
    table = Table("", title="cost of metrics and traces in triples/s")
    for column in ("mean", "median and range", "comparisons"):
        table.add_column(column, justify="right")
    for name, costs in record.items():
        mean = f"{statistics.mean(costs):.1%} ± {standard_error(costs):.1%}"
        table.add_row(name, mean, spread(costs, ".1%"), str(len(costs)))
    _out.print(table)


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
