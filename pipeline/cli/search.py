"""`trimodal search`: indexed predictions as a table or as JSON lines."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli import moments
from pipeline.cli.context import settings
from pipeline.events.records import Prediction
from pipeline.search.client import connect
from pipeline.search.documents import document
from pipeline.search.queries import MAX_SIZE, Found, PredictionSearch, TimeRange

_PIPED_WIDTH = 200
_out = Console()


def search(
    query: Annotated[
        str, typer.Argument(help="Such as 'label:3 AND confidence:>0.9' or 'modalities:speech key:digit-7'.")
    ] = "*",
    size: Annotated[int, typer.Option("--size", "-n", min=1, max=MAX_SIZE, help="Most predictions shown.")] = 20,
    since: Annotated[
        str | None, typer.Option(help="Earliest event time: an age such as 15m, 2h or 7d, or ISO 8601.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Event time to stop before, written like --since.")] = None,
    *,
    count: Annotated[bool, typer.Option("--count", help="Count the matches label by label.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
) -> None:
    """Search the indexed predictions, newest event first.

    QUERY is an Elasticsearch query string over the fields of a prediction: label, confidence, key, event_time,
    predicted_at, modalities, latency_ms, model, model_version, revision, prediction_id, sources.topic,
    sources.partition, sources.offset, and probabilities.LABEL. Exits with 1 when it is wrong.
    """
    chosen = settings().elasticsearch
    now = datetime.now(UTC)
    times = TimeRange(_moment(since, "--since", now), _moment(until, "--until", now))
    predictions = PredictionSearch(connect(chosen), chosen)
    if count:
        _show_counts(predictions.count_by_label(query, times), as_json=as_json)
        return
    found = predictions.search(query, size, times)
    if as_json:
        for prediction in found.predictions:
            print(json.dumps(document(prediction, chosen.alias).body))  # noqa: T201  # rich would wrap it
        return
    _show(found, chosen.alias)


def _moment(text: str | None, option: str, now: datetime) -> datetime | None:
    return None if text is None else datetime.fromtimestamp(moments.moment_ms(text, option, now) / 1_000, UTC)


def _show(found: Found, alias: str) -> None:
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
        table.add_row(*_cells(prediction))
    (_out if _out.is_terminal else Console(width=_PIPED_WIDTH)).print(table, markup=False, highlight=False)
    shown = len(found.predictions)
    _say(f"{shown:,} of {_matches(found.total)}" if shown < found.total else _matches(shown))


def _matches(count: int) -> str:
    return "1 match." if count == 1 else f"{count:,} matches."


def _cells(prediction: Prediction) -> Iterator[str]:
    moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=prediction.event_time_ms)
    yield moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1_000:03d}"
    yield _plain(prediction.key)
    yield _plain(prediction.label)
    yield f"{prediction.confidence:.1%}"
    yield " ".join(modality.name.lower() for modality in prediction.modalities)
    yield f"{prediction.latency_ms:,.0f} ms"
    yield _plain(f"{prediction.model} {prediction.model_version}")


def _show_counts(counts: dict[str, int], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(counts))  # noqa: T201  # rich would wrap it
        return
    table = Table("label", box=None, pad_edge=False)
    table.add_column("predictions", justify="right")
    for label, number in counts.items():
        table.add_row(_plain(label), f"{number:,}")
    _out.print(table, highlight=False)
    _say(_matches(sum(counts.values())))


def _plain(text: str) -> str:
    """Keeps rich from reading brackets in a key or label as markup."""
    return text.replace("[", r"\[")


def _say(line: str) -> None:
    _out.print(line, markup=False, highlight=False, soft_wrap=True)
