"""`trimodal explain`: what became of a key."""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli import moments
from pipeline.cli.context import settings
from pipeline.cli.printing import key_bytes
from pipeline.cli.timeline import Index, Names, as_object, clock_text, entries
from pipeline.kafka.history import History, history
from pipeline.search.client import connect
from pipeline.search.errors import SearchFailure
from pipeline.search.queries import PredictionSearch, of_key
from pipeline.settings import ElasticsearchSettings
from pipeline.telemetry import logs

MAX_DOCUMENTS = 100
ASK_TIMEOUT_MS = 5_000
_out = Console()
_err = Console(stderr=True)


def explain(
    key: Annotated[str, typer.Argument(help="The join key.", show_default=False)],
    since: Annotated[
        str | None, typer.Option(help=f"Read only what the broker took since then. {moments.HELP}")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Sets kafka.group, whose committed positions are used.")] = None,
    *,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="Read all partitions: a record may be in a wrong one.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object, for programs.")] = False,
) -> None:
    """Tell what became of a key: its source records, predictions, dead letters and documents, in order of time.

    Reads the key's partition of each topic, all of it unless --since is given. A misrouted record is shown without
    --everywhere once it has its dead letter. Times are the broker's, in UTC. Exits with 1 if nothing has this key.
    """
    chosen = settings({"kafka": {"group": group}})
    logs.configure(chosen.monitoring, program="explain")
    since_ms = None if since is None else moments.moment_ms(since, "--since", datetime.now(UTC))
    found = history(chosen, key_bytes(key), since_ms=since_ms, everywhere=everywhere)
    index = _index(chosen.elasticsearch, key)
    if not (found.records or found.predictions or found.letters or index.documents):
        where = "" if everywhere else f" in partition {found.partition} (--everywhere looks in all)"
        _err.print(f"Nothing has the key {key!r}{where}.", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1)
    if as_json:
        print(json.dumps(as_object(found, index, chosen.elasticsearch.alias), ensure_ascii=False))  # noqa: T201
        return
    _show(found, index, Names(chosen.kafka.group, chosen.elasticsearch.alias, chosen.join.window_ms))


def _index(elasticsearch: ElasticsearchSettings, key: str) -> Index:
    patience_ms = min(ASK_TIMEOUT_MS, elasticsearch.request_timeout_ms)
    hurried = elasticsearch.model_copy(update={"request_timeout_ms": patience_ms})
    try:
        found = PredictionSearch(connect(hurried), hurried).search(of_key(key), MAX_DOCUMENTS)
    except SearchFailure as error:
        return Index(problem=str(error))
    return Index(found.predictions)


def _show(found: History, index: Index, names: Names) -> None:
    told = entries(found, index, names)
    counts = (
        f"{_counted(len(found.records), 'source record')}, {_counted(len(found.predictions), 'prediction')}, "
        f"{_counted(len(found.letters), 'dead letter')}"
    )
    key = found.key.decode("utf-8", "backslashreplace")
    _say(f"{key}: {counts}, in partition {found.partition} of {found.partitions}\n")
    width = max(len(entry.place) for entry in told) if told else 0
    for entry in told:
        when = clock_text(entry.at_ms)
        _say(f"{when}  {entry.place:<{width}}  {entry.what}")
        for line in entry.more:
            _say(f"{'':<{len(when)}}  {'':<{width}}  {line}")
    if found.gone:
        _say(f"\nNamed by outputs, and no longer in the topics: {' '.join(map(str, found.gone))}")
    for problem in found.problems:
        _say(f"\n{problem}")
    if index.problem:
        _say(f"\nElasticsearch could not be asked. {index.problem}")


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _say(line: str) -> None:
    _out.print(line, markup=False, highlight=False, soft_wrap=True)
