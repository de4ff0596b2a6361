"""`trimodal stack`: a real Kafka and a real Elasticsearch on this machine, without containers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.cli.leaving import unwound_by_signals
from pipeline.stack import (
    LocalStack,
    OnProgress,
    StackError,
    Step,
    find_directory,
    follow,
    is_free,
    read_addresses,
    tail,
)

app = typer.Typer(no_args_is_help=True, help="Run a real Kafka and a real Elasticsearch on this machine.")

_KAFKA_PORT = 9092
_ELASTICSEARCH_PORT = 9200
_INTERRUPTED = 130

_out = Console()
_err = Console(stderr=True)

DirOption = Annotated[
    Path | None,
    typer.Option("--dir", help="The stack's directory. Default: `.local` here or in the nearest parent that has one."),
]


@app.command()
def up(
    directory: DirOption = None,
    brokers: Annotated[
        int | None, typer.Option(help="1 or 3 Kafka brokers. Default: as the data has it, else 1.")
    ] = None,
    kafka_port: Annotated[
        int | None,
        typer.Option(help=f"The first broker's port; 0 picks a free one. Default: {_KAFKA_PORT} if free, else any."),
    ] = None,
    elasticsearch_port: Annotated[
        int | None,
        typer.Option(
            help=f"Elasticsearch's port; 0 picks a free one. Default: {_ELASTICSEARCH_PORT} if free, else any."
        ),
    ] = None,
) -> None:
    """Start what does not run yet and wait until it answers.

    The first time, Maven fetches the servers (about 85 MB). Later `trimodal` commands find the stack by themselves.
    Exits with 1 when it cannot start, having ended what it had started.
    """
    directory = directory or find_directory(Path.cwd())
    fresh = read_addresses(directory) is None
    stack = LocalStack(
        directory,
        brokers,
        _usual(_KAFKA_PORT, 3, fresh=fresh) if kafka_port is None else kafka_port,
        _usual(_ELASTICSEARCH_PORT, 1, fresh=fresh) if elasticsearch_port is None else elasticsearch_port,
    )
    columns = (SpinnerColumn(finished_text="✔"), TextColumn("{task.description}"), TimeElapsedColumn())
    with _interruptible(), unwound_by_signals(_err), Progress(*columns, console=_err) as progress:
        display, stages = _display(progress)
        addresses = stack.up(display)
    _say("The stack is up." if "working" in stages else "The stack was up already.")
    _say(f"  Kafka          {addresses.bootstrap_servers}")
    _say(f"  Elasticsearch  {addresses.elasticsearch_url}")
    _say("  It ends with   trimodal stack down")


@app.command()
def down(
    directory: DirOption = None,
    *,
    wipe: Annotated[bool, typer.Option("--wipe", help="Also remove all topics, indices and logs.")] = False,
) -> None:
    """End the stack. Its data is kept unless --wipe is given."""
    stack = LocalStack(directory or find_directory(Path.cwd()))
    with _err.status("Ending the servers"):
        ended = stack.down(wipe=wipe)
    _say(f"Ended {', '.join(ended)}." if ended else f"Nothing was up in {stack.directory}.")
    if wipe:
        _say("Removed the data and the logs.")


@app.command()
def status(directory: DirOption = None) -> None:
    """Show each server; exit with 1 when one does not answer or nothing is up."""
    stack = LocalStack(directory or find_directory(Path.cwd()))
    servers = stack.status()
    if not servers:
        _say(f"Nothing is up in {stack.directory}: start it with `trimodal stack up`.")
        raise typer.Exit(1)
    table = Table("server", "pid", "port", "state", "memory", "log", box=None, pad_edge=False)
    for server in servers:
        memory = f"{server.memory_bytes / 1e6:.0f} MB" if server.memory_bytes else "-"
        colour = {"up": "green", "silent": "yellow", "down": "red"}[server.state]
        state = f"[{colour}]{server.state}[/]"
        table.add_row(server.name, str(server.pid), str(server.port), state, memory, str(server.log))
    # Piped into another program, a table is not to be cut to 80 columns.
    (_out if _out.is_terminal else Console(width=300)).print(table)
    if any(server.state != "up" for server in servers):
        raise typer.Exit(1)


@app.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="A server, for instance kafka-1. Default: all.")] = None,
    directory: DirOption = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 20,
    *,
    follow_on: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl-C.")] = False,
) -> None:
    """Show the servers' logs; they are there after `down` too."""
    stack = LocalStack(directory or find_directory(Path.cwd()))
    files = stack.logs()
    if name is not None and name not in files:
        raise StackError(f"there is no log of {name} in {stack.directory}: there is {', '.join(files) or 'none yet'}")
    if not files:
        raise StackError(f"there is no log yet in {stack.directory}: start a stack with `trimodal stack up`")
    chosen = {name: files[name]} if name else files
    for file in chosen.values():
        if len(chosen) > 1:
            _say(f"==> {file} <==")
        for line in tail(file, lines):
            _say(line)
    if follow_on:
        _follow(chosen)


def _follow(files: dict[str, Path]) -> None:
    try:
        for name, line in follow(files):
            _say(f"{name}: {line}" if len(files) > 1 else line)
    except KeyboardInterrupt:
        return


def _display(progress: Progress) -> tuple[OnProgress, set[str]]:
    tasks: dict[str, TaskID] = {}
    stages: set[str] = set()

    def show(step: Step) -> None:
        stages.add(step.stage)
        if step.name not in tasks:
            tasks[step.name] = progress.add_task("", total=1)
        completed = 0 if step.stage == "working" else 1
        progress.update(tasks[step.name], description=f"{step.name:<14} {step.text}", completed=completed)

    return show, stages


def _usual(port: int, count: int, *, fresh: bool) -> int:
    """Returns the port that tutorials use, or 0 when it is taken or a stack with ports of its own is there."""
    return port if fresh and all(is_free(port + index) for index in range(count)) else 0


@contextmanager
def _interruptible() -> Iterator[None]:
    """Says after Ctrl-C what became of the servers; the work itself has ended what it started."""
    try:
        yield
    except KeyboardInterrupt:
        _err.print("interrupted; what had been started is ended", highlight=False)
        raise typer.Exit(_INTERRUPTED) from None


def _say(line: str) -> None:
    _out.print(line, markup=False, highlight=False, soft_wrap=True)
