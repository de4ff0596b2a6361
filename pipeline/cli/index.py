"""`trimodal index`: the indices of predictions, set up, looked at and rebuilt."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import Progress
from rich.table import Table

from pipeline.cli.context import settings
from pipeline.cli.reindexing import ROLE, Rebuilt, rebuild
from pipeline.search import template
from pipeline.search.client import connect
from pipeline.search.installation import Installation, Policy, examine, install
from pipeline.telemetry import logs

app = typer.Typer(no_args_is_help=True, help="Set up, examine and rebuild the indices of predictions.")

_WITHOUT_ILM = "This server has no ILM: indices are kept until somebody deletes them."
_PIPED_WIDTH = 200
_out = Console()
_err = Console(stderr=True)


@app.command()
def setup() -> None:
    """Install the index template, the alias and the ILM policy, and give old indices what they lack.

    `trimodal run indexer` does the same when it starts. Doing it again changes nothing.
    """
    chosen = settings()
    logs.configure(chosen.monitoring.model_copy(update={"log_level": "WARNING"}), program="index")
    client = connect(chosen.elasticsearch)
    for sentence in install(client, chosen.elasticsearch) or ("Nothing to do: all is there.",):
        _say(sentence)
    found = examine(client, chosen.elasticsearch)
    if not found.has_ilm:
        _say(_WITHOUT_ILM)
    for sentence in found.differences():
        _say(f"Left as it is: {sentence}")


@app.command()
def status(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object, for programs.")] = False,
) -> None:
    """Show the indices, their documents, the template's version, and what differs from what this trimodal installs.

    Exits with 1 if anything differs.
    """
    chosen = settings().elasticsearch
    found = examine(connect(chosen), chosen)
    differences = list(found.differences())
    if as_json:
        _say(json.dumps({**asdict(found), "expected_version": template.VERSION, "differences": differences}))
    else:
        _show(found, chosen.retention_days)
        for sentence in differences:
            _say(sentence)
        if differences:
            _say("`trimodal index setup` mends what it can in place; `trimodal index reindex --recreate` makes anew.")
    if differences:
        raise typer.Exit(1)


@app.command()
def reindex(
    day: Annotated[str, typer.Option(help="Day of the events (UTC), such as 2026-11-24.", show_default=False)],
    *,
    recreate: Annotated[
        bool,
        typer.Option(
            "--recreate",
            help="Delete the day's index first, for a new mapping; refused if the topic no longer holds all of it.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object, for programs.")] = False,
) -> None:
    """Write what the topic of predictions holds of a day into its index, with the ids and versions of the indexer.

    Documents that are there in the same or a newer revision stay as they are, and an indexer may be running. Exits
    with 1 if a prediction could not be indexed.
    """
    try:
        chosen_day = date.fromisoformat(day)
    except ValueError:
        raise typer.BadParameter(f"{day!r} is no day: write it like 2026-11-24.", param_hint="--day") from None
    chosen = settings()
    logs.configure(chosen.monitoring.model_copy(update={"log_level": "WARNING"}), program=ROLE)
    with _progress() as on_progress:
        rebuilt = rebuild(chosen, chosen_day, recreate=recreate, on_progress=on_progress)
    if as_json:
        _say(json.dumps({**asdict(rebuilt), "cut": [str(where) for where in rebuilt.cut]}))
    else:
        for sentence in told(rebuilt):
            _say(sentence)
    if rebuilt.rejected or rebuilt.unreadable:
        raise typer.Exit(1)


def told(rebuilt: Rebuilt) -> Iterator[str]:
    """Yields what a rebuild did, in sentences."""
    if rebuilt.recreated:
        yield f"{rebuilt.index} was deleted and made anew."
    yield (
        f"{rebuilt.read:,} records read, {rebuilt.of_the_day:,} of this day: {rebuilt.written:,} written, "
        f"{rebuilt.known:,} there already in this revision or a newer one."
    )
    yield f"{rebuilt.index} holds {rebuilt.documents:,} documents."
    if rebuilt.cut:
        yield (
            f"{' '.join(map(str, rebuilt.cut))} may no longer hold all of the day: retention has deleted records of "
            "that time. Documents of theirs that were there have stayed."
        )
    if rebuilt.rejected or rebuilt.unreadable:
        yield (
            f"{rebuilt.rejected:,} rejected by Elasticsearch, {rebuilt.unreadable:,} unreadable (of whatever day); the "
            "indexer has put them among the dead letters. The first of them:"
        )
        yield from rebuilt.problems


def _show(found: Installation, retention_days: int) -> None:
    version = "none" if found.template_version is None else str(found.template_version)
    _say(f"Alias {found.alias}, index template version {version} (this trimodal: {template.VERSION}).")
    if found.policy is Policy.UNSUPPORTED:
        _say(_WITHOUT_ILM)
    else:
        _say(f"ILM policy {template.policy_name(found.alias)}: deletes {retention_days} days after an index's day.")
    if not found.indices:
        _say("No index yet.")
        return
    table = Table("index", box=None, pad_edge=False)
    table.add_column("documents", justify="right")
    table.add_column("size", justify="right")
    table.add_column("differs")
    for index in found.indices:
        differs = "yes" if any(index.lacks.sentences()) else ""
        table.add_row(index.name, f"{index.documents:,}", decimal(index.size_bytes), differs)
    (_out if _out.is_terminal else Console(width=_PIPED_WIDTH)).print(table, highlight=False)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Shows a bar on a terminal, and nothing elsewhere."""
    with Progress(console=_err, transient=True, disable=not _err.is_terminal) as progress:
        task = progress.add_task("Reading the predictions", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _say(line: str) -> None:
    _out.print(line, markup=False, highlight=False, soft_wrap=True)
