"""`trimodal demo`: stack, topics, programs, digits, figures, audit; then all that was started is stopped."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli import context
from pipeline.cli.demo import board as demo_board
from pipeline.cli.demo.programs import Programs
from pipeline.cli.demo.run import DemoRun
from pipeline.cli.leaving import unwound_by_signals
from pipeline.kafka.admin import TopicAdmin
from pipeline.stack import LocalStack, find_directory, only_one, read_addresses

FAULTS = {"missing": 0.05, "duplicates": 0.02, "garbage": 30, "shuffle_ms": 200}
ENVIRONMENT = {
    "TRIMODAL_SERVING__WORKERS": "1",
    "TRIMODAL_MONITORING__LOG_FORMAT": "json",
    "TRIMODAL_KAFKA__SESSION_TIMEOUT_MS": "10000",  # who runs a replica afterwards waits so long for these at most
}
SHORT_WINDOWS = {"TRIMODAL_JOIN__WINDOW_MS": "4000", "TRIMODAL_JOIN__OUT_OF_ORDER_MS": "1000"}
"""They end the demo sooner. What is kept up is for people who type three commands to publish one key's events."""
PICTURE = "board.png"
REPLICAS = ("demo-a", "demo-b")
NEXT = """
What to try next, with the stack up ([bold]make demo KEEP=1[/]):
  trimodal search 'label:3 AND confidence:>0.9'
  trimodal consume predictions --from-beginning --limit 3
  trimodal produce speech --key hello-1 my-recording.wav
  trimodal audit"""
_out = Console()


def demo(
    count: Annotated[int, typer.Option(min=1, help="Triples of a spoken, a pictured and a pen-drawn digit.")] = 3_000,
    rate: Annotated[float, typer.Option(min=1, help="Triples a second.")] = 150.0,
    seed: Annotated[int, typer.Option(help="Of all choices: the same seed, the same digits and faults.")] = 1,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack and the programs up.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Only stop what an earlier --keep left up.")] = False,
    directory: Annotated[Path | None, typer.Option("--dir", help="The stack's directory. Default: .local.")] = None,
) -> None:
    """Run the whole pipeline on this machine: publish digits, classify, index, search and audit them.

    Starts a real Kafka and a real Elasticsearch, two fusion replicas, an indexer and the live page; publishes triples
    of which some events are missing, doubled or garbage; and proves at the end that every record has exactly one
    outcome.
    """
    folder = directory or find_directory(Path.cwd())
    with only_one(folder / "demo.lock", wait=False):
        was_up = read_addresses(folder) is not None
        stack = LocalStack(folder, bound_to=None if keep or was_up else os.getpid())
        programs = Programs(folder, ENVIRONMENT if keep else ENVIRONMENT | SHORT_WINDOWS)
        programs.adopt()
        if stop:
            ended = [*programs.end(), *stack.down()]
            _out.print(f"Stopped {', '.join(ended)}." if ended else "Nothing was up.")
            return
        with unwound_by_signals(_out):
            try:
                _run(stack, programs, count, rate, seed)
            finally:
                if keep and read_addresses(folder) is not None:
                    programs.record()
                    _out.print("\nWhat is up is left up. Stop it all with [bold]trimodal demo --stop[/].")
                else:
                    _stop(programs, None if was_up else stack)


def _stop(programs: Programs, stack: LocalStack | None) -> None:
    with _out.status("Stopping the programs"):
        programs.end()
    if stack is not None:
        with _out.status("Stopping Kafka and Elasticsearch"):
            stack.down()
    _out.print("\nStopped all that was started.")


def _run(stack: LocalStack, programs: Programs, count: int, rate: float, seed: int) -> None:
    started_s = time.monotonic()
    with _out.status("Starting Kafka and Elasticsearch") as status:
        addresses = stack.up(lambda step: status.update(f"Starting Kafka and Elasticsearch: {step.text}"))
    os.environ["TRIMODAL_KAFKA__BOOTSTRAP_SERVERS"] = addresses.bootstrap_servers
    os.environ["TRIMODAL_ELASTICSEARCH__URL"] = addresses.elasticsearch_url
    settings = context.settings()
    TopicAdmin(settings.kafka, settings.topics).create()
    for replica in REPLICAS:
        programs.start_once(f"fusion-{replica}", ["run", "fusion", "--replica", replica])
    programs.start_once("indexer", ["run", "indexer", "--replica", "demo"])
    board = demo_board.start(programs, settings.board)
    _out.print(
        f"Kafka {addresses.bootstrap_servers} and Elasticsearch {addresses.elasticsearch_url} are up after "
        f"{time.monotonic() - started_s:.1f} s; two fusion replicas and an indexer are starting.",
        highlight=False,
    )
    _out.print(f"Watch it at [bold]{board.address}[/]", highlight=False)
    run = DemoRun(settings, programs, _out, lambda: demo_board.picture(board, stack.directory / PICTURE))
    run.await_group(len(REPLICAS))
    demo_board.open_in_browser(board)
    run.play(count, rate, seed, FAULTS)
    _out.print(NEXT, highlight=False)
