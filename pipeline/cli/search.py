"""`trimodal search`: indexed predictions as a table, as JSON lines, counted by a field, or as they come."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.cli import moments
from pipeline.cli.context import settings
from pipeline.events.records import Prediction
from pipeline.search.client import connect
from pipeline.search.documents import Hit, document
from pipeline.search.errors import Retriable
from pipeline.search.following import Follower
from pipeline.search.queries import EVERYTHING, MAX_SIZE, Found, Groups, PredictionSearch, TimeRange, groupable_fields

POLL_S = 1.0
INTERRUPTED = 130
_PIPED_WIDTH = 200
_EPOCH = datetime.fromtimestamp(0, UTC)
_out = Console()
_err = Console(stderr=True)


def search(
    query: Annotated[
        str, typer.Argument(help="Such as 'label:3 AND confidence:>0.9' or 'modalities:speech key:digit-7'.")
    ] = EVERYTHING,
    size: Annotated[int, typer.Option("--size", "-n", min=1, max=MAX_SIZE, help="Most predictions shown.")] = 20,
    since: Annotated[str | None, typer.Option(help=f"Earliest event time. {moments.HELP}")] = None,
    until: Annotated[str | None, typer.Option(help="Event time to stop before, written like --since.")] = None,
    aggregate: Annotated[
        str | None,
        typer.Option(metavar="FIELD", help=f"Count the matches by a field: {', '.join(groupable_fields())}."),
    ] = None,
    *,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Print what is indexed from now on, until Ctrl-C; with --since from then."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line; a prediction's has its trace_id, or null.")
    ] = False,
) -> None:
    """Search the indexed predictions, newest event first.

    QUERY is an Elasticsearch query string over the fields of a prediction: label, confidence, key, event_time,
    predicted_at, modalities, latency_ms, model, model_version, revision, prediction_id, trace_id, sources.topic,
    sources.partition, sources.offset, and probabilities.LABEL. Exits with 1 when it is wrong.
    """
    if follow and (aggregate or until):
        raise typer.BadParameter("goes with neither --aggregate nor --until.", param_hint="--follow")
    chosen = settings().elasticsearch
    now = datetime.now(UTC)
    times = TimeRange(_moment(since, "--since", now), _moment(until, "--until", now))
    predictions = PredictionSearch(connect(chosen), chosen)
    try:
        if aggregate:
            _show_groups(aggregate, predictions.group(aggregate, query, times), as_json=as_json)
        elif follow:
            predictions.search(query, 1)  # says now what is wrong with the query
            _follow(Follower(predictions, query, times, from_beginning=since is not None), as_json=as_json)
        else:
            _show(predictions.search(query, size, times), chosen.alias, as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # What Python still holds for stdout would raise this again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _moment(text: str | None, option: str, now: datetime) -> datetime | None:
    return None if text is None else datetime.fromtimestamp(moments.moment_ms(text, option, now) / 1_000, UTC)


def _show(found: Found, alias: str, *, as_json: bool) -> None:
    if as_json:
        _print_json(found.hits)
        return
    if not found.total:
        _say(f"No prediction under {alias} matches.")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("event time (UTC)", no_wrap=True)
    table.add_column("key", overflow="fold")
    table.add_column("label", style="bold")
    table.add_column("confidence", justify="right")
    table.add_column("modalities")
    table.add_column("latency", justify="right", no_wrap=True)
    table.add_column("model")
    for prediction in found.predictions:
        table.add_row(*map(Text, _cells(prediction)))
    _print_table(table)
    shown = len(found.predictions)
    _say(f"{shown:,} of {_matches(found.total)}" if shown < found.total else _matches(shown))


def _show_groups(field: str, found: Groups, *, as_json: bool) -> None:
    if as_json:
        for group in found.groups:
            line = {field: group.value, "predictions": group.predictions, "mean_confidence": group.mean_confidence}
            sys.stdout.write(f"{json.dumps(line, ensure_ascii=False)}\n")
        return
    table = Table(field, box=None, pad_edge=False)
    table.add_column("predictions", justify="right")
    table.add_column("share", justify="right")
    table.add_column("mean confidence", justify="right")
    for group in found.groups:
        share = f"{group.predictions / found.total:.1%}"
        table.add_row(Text(group.value), f"{group.predictions:,}", share, f"{group.mean_confidence:.1%}")
    if found.groups:
        _print_table(table)
    if found.others:
        _say(f"{found.others:,} are in further groups: narrow the query.")
    _say(_matches(found.total))


def _follow(follower: Follower, *, as_json: bool) -> None:
    """Prints what comes; while Elasticsearch does not answer, says so once and goes on asking."""
    problem = ""
    while True:
        try:
            found = follower.new()
            problem = ""
        except Retriable as error:
            if not problem:
                _err.print(f"{error} Asking again.", markup=False, highlight=False, soft_wrap=True)
            found, problem = (), str(error)
        if as_json:
            _print_json(found)
        else:
            sys.stdout.writelines(f"{_line(hit.prediction)}\n" for hit in found)
        sys.stdout.flush()
        sleep(POLL_S)


def _line(prediction: Prediction) -> str:
    """Returns a row whose table nobody knows the width of yet."""
    when, key, label, confidence, modalities, latency, model = _cells(prediction)
    revision = f"  revision {prediction.revision}" if prediction.revision else ""
    return f"{when}  {key:<24}  {label:<10} {confidence:>6}  {modalities:<19}  {latency:>9}  {model}{revision}"


def _cells(prediction: Prediction) -> Iterator[str]:
    moment = _EPOCH + timedelta(milliseconds=prediction.event_time_ms)
    yield moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1_000:03d}"
    yield prediction.key
    yield prediction.label
    yield f"{prediction.confidence:.1%}"
    yield " ".join(modality.name.lower() for modality in prediction.modalities)
    yield f"{prediction.latency_ms:,.0f} ms"
    yield f"{prediction.model} {prediction.model_version}"


def _print_json(hits: Sequence[Hit]) -> None:
    for hit in hits:
        fields = {**document(hit.prediction, "").body, "trace_id": hit.trace_id}
        sys.stdout.write(f"{json.dumps(fields, ensure_ascii=False)}\n")


def _print_table(table: Table) -> None:
    # Piped into another program, a table is not to be cut to 80 columns.
    (_out if _out.is_terminal else Console(width=_PIPED_WIDTH)).print(table, highlight=False)


def _matches(count: int) -> str:
    return "1 match." if count == 1 else f"{count:,} matches."


def _say(line: str) -> None:
    _out.print(line, markup=False, highlight=False, soft_wrap=True)
