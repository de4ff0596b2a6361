"""`trimodal run`: the programs."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Annotated

import typer

from pipeline.cli import context
from pipeline.cli.expected import EXPECTED
from pipeline.kafka.reachability import BrokerProbe
from pipeline.settings import Settings
from pipeline.telemetry import logs, metrics
from pipeline.telemetry.health import Health
from pipeline.telemetry.serving import serve
from pipeline.telemetry.tracing import Tracer, tracer

app = typer.Typer(help="Run one of the programs until it is told to stop (SIGTERM or Ctrl-C).", no_args_is_help=True)
_Group = Annotated[str | None, typer.Option(help="Sets kafka.group: the replicas of one group share the work.")]
_Replica = Annotated[
    str | None,
    typer.Option(help="Sets kafka.replica: a stable name, unique within the group. Default: the host's."),
]
_log = logs.logger(__name__)


@app.command()
def fusion(
    group: _Group = None,
    replica: _Replica = None,
    device: Annotated[str | None, typer.Option(help="Sets serving.device: auto, cpu, cuda or cuda:N.")] = None,
) -> None:
    """Join speech, image and sensor events by key, classify them, publish predictions and dead letters."""
    from consumers.assembly import fusion_consumer  # noqa: PLC0415  (loads torch, which only this program needs)

    settings = context.settings({"kafka": {"group": group, "replica": replica}, "serving": {"device": device}})
    with _program(settings, "fusion", needs=("model", "assignment")) as this:
        fusion_consumer(settings, health=this.health, tracer=this.tracer).run(this.stop)


@app.command(name="indexer")
def run_indexer(group: _Group = None, replica: _Replica = None) -> None:
    """Index predictions into Elasticsearch."""
    from consumers import indexer  # noqa: PLC0415  (loads Elasticsearch's client, which only this program needs)

    settings = context.settings({"kafka": {"group": group, "replica": replica}})
    with _program(settings, "indexer", needs=("assignment",)) as this:
        indexer.build(settings, this.health, this.tracer).run(this.stop)


@app.command(name="statistics")
def run_statistics(group: _Group = None, replica: _Replica = None) -> None:
    """Count predictions in windows of time, publish the counts and serve them as JSON."""
    from consumers import statistics  # noqa: PLC0415  (loads Faust, which only this program needs)

    settings = context.settings({"kafka": {"group": group, "replica": replica}})
    with _program(settings, "statistics", needs=("assignment",)) as this:
        statistics.build(settings, this.health).run(this.stop)


@app.command(name="board")
def run_board(
    group: _Group = None,
    host: Annotated[str | None, typer.Option(help="Sets board.host: the address to serve on.")] = None,
    port: Annotated[int | None, typer.Option(help="Sets board.port; 0 picks a free one.")] = None,
) -> None:
    """Serve the live page: predictions with their inputs, rates, lag, dead letters, offset maps, search."""
    from consumers.board.program import Board  # noqa: PLC0415  (loads FastAPI, which only this program needs)

    settings = context.settings({"kafka": {"group": group}, "board": {"host": host, "port": port}})
    with _program(settings, "board", needs=("page",)) as this:
        board = Board(settings, this.health)
        typer.echo(f"The board is at {board.address}")
        board.run(this.stop)


@dataclass(frozen=True, slots=True)
class _This:
    """What a program is given: the event that a signal sets, and what to tell how it is and what it did."""

    stop: threading.Event
    health: Health
    tracer: Tracer


@contextmanager
def _program(settings: Settings, name: str, needs: Sequence[str]) -> Iterator[_This]:
    """Sets logs, signals, metrics, health and traces up for a program, and ends them with it.

    Where the log is JSON, an expected error is its last line; on a terminal it is what other commands show.
    """
    monitoring, replica = settings.monitoring, settings.kafka.replica
    logs.configure(monitoring, program=name, replica=replica)
    try:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        health = Health(needs, monitoring.stalled_after_ms / 1_000)
        health.probe("broker", BrokerProbe(settings.kafka))
        metrics.note_build(name)
        with closing(tracer(monitoring, name, replica)) as spans:
            port = serve(monitoring, health)
            _log.info("starting", metrics_port=port, bootstrap_servers=settings.kafka.bootstrap_servers)
            yield _This(stop, health, spans)
    except EXPECTED as error:
        if not logs.writes_json():
            raise
        _log.critical("ended", problem=str(error))
        raise typer.Exit(1) from error
    _log.info("stopped")
