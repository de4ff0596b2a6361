"""`trimodal run`: the programs."""

import signal
import threading
from collections.abc import Sequence
from contextlib import closing
from typing import Annotated

import typer

from pipeline.cli import context
from pipeline.kafka.reachability import BrokerProbe
from pipeline.settings import Settings
from pipeline.telemetry import logs, metrics
from pipeline.telemetry.health import Health
from pipeline.telemetry.serving import serve
from pipeline.telemetry.tracing import tracer

app = typer.Typer(help="Run one of the programs until it is told to stop (SIGTERM or Ctrl-C).", no_args_is_help=True)
_Group = Annotated[str | None, typer.Option(help="Sets kafka.group: the replicas of one group share the work.")]
_Replica = Annotated[
    str | None,
    typer.Option(help="Sets kafka.replica: a stable name, unique within the group. Default: the host's."),
]


@app.command()
def fusion(
    group: _Group = None,
    replica: _Replica = None,
    device: Annotated[str | None, typer.Option(help="Sets serving.device: auto, cpu, cuda or cuda:N.")] = None,
) -> None:
    """Join speech, image and sensor events by key, classify them, publish predictions and dead letters."""
    from consumers.assembly import fusion_consumer  # noqa: PLC0415  (loads torch, which only this program needs)

    settings = context.settings({"kafka": {"group": group, "replica": replica}, "serving": {"device": device}})
    stop, health = _start(settings, "fusion", needs=("model", "assignment"))
    with closing(tracer(settings.monitoring, "fusion", settings.kafka.replica)) as spans:
        fusion_consumer(settings, health=health, tracer=spans).run(stop)


@app.command(name="indexer")
def run_indexer(group: _Group = None, replica: _Replica = None) -> None:
    """Index predictions into Elasticsearch."""
    from consumers import indexer  # noqa: PLC0415  (loads Elasticsearch's client, which only this program needs)

    settings = context.settings({"kafka": {"group": group, "replica": replica}})
    stop, health = _start(settings, "indexer", needs=("assignment",))
    with closing(tracer(settings.monitoring, "indexer", settings.kafka.replica)) as spans:
        indexer.build(settings, health, spans).run(stop)


@app.command(name="statistics")
def run_statistics(group: _Group = None, replica: _Replica = None) -> None:
    """Count predictions in windows of time, publish the counts and serve them as JSON."""
    from consumers import statistics  # noqa: PLC0415  (loads Faust, which only this program needs)

    settings = context.settings({"kafka": {"group": group, "replica": replica}})
    stop, health = _start(settings, "statistics", needs=("assignment",))
    statistics.build(settings, health).run(stop)


@app.command(name="board")
def run_board(
    group: _Group = None,
    host: Annotated[str | None, typer.Option(help="Sets board.host: the address to serve on.")] = None,
    port: Annotated[int | None, typer.Option(help="Sets board.port; 0 picks a free one.")] = None,
) -> None:
    """Serve the live page: predictions with their inputs, rates, lag, dead letters, offset maps, search."""
    from consumers.board.program import Board  # noqa: PLC0415  (loads FastAPI, which only this program needs)

    settings = context.settings({"kafka": {"group": group}, "board": {"host": host, "port": port}})
    stop, health = _start(settings, "board", needs=("page",))
    board = Board(settings, health)
    typer.echo(f"The board is at {board.address}")
    board.run(stop)


def _start(settings: Settings, program: str, needs: Sequence[str]) -> tuple[threading.Event, Health]:
    """Sets logs, metrics, health and signals up; returns the event that a signal sets, and what to tell of health."""
    logs.configure(settings.monitoring, program=program, replica=settings.kafka.replica)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    health = Health(needs, settings.monitoring.stalled_after_ms / 1_000)
    health.probe("broker", BrokerProbe(settings.kafka))
    metrics.note_build(program)
    port = serve(settings.monitoring, health)
    logs.logger(__name__).info("starting", metrics_port=port, bootstrap_servers=settings.kafka.bootstrap_servers)
    return stop, health
