"""`trimodal consume`: predictions, dead letters or statistics as JSON lines or as a table."""

import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from pipeline.cli import moments
from pipeline.cli.context import settings
from pipeline.cli.printing import Printed, dead_letter, prediction, statistic, table
from pipeline.events.codec import Codec
from pipeline.events.errors import RecordError
from pipeline.events.records import Reason
from pipeline.kafka.contract import Message, TopicPartition
from pipeline.kafka.offsets import OffsetQueries
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.registry import codec
from pipeline.settings import Settings, TopicSettings
from pipeline.telemetry import logs

ROLE = "consume"
POLL_RECORDS = 1_000
POLL_S = 0.5
INTERRUPTED = 130
_out = Console()
_err = Console(stderr=True)


class Kind(StrEnum):
    """What to consume."""

    PREDICTIONS = "predictions"
    DEAD_LETTERS = "dead-letters"
    STATISTICS = "statistics"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records are printed. None asks for nothing."""

    kind: Kind
    key: str | None
    reason: Reason | None
    full: bool


def consume(
    kind: Annotated[Kind, typer.Argument(help="What to consume.", show_default=False)],
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Stop after this many records.")] = None,
    key: Annotated[str | None, typer.Option(help="Only records of this join key.")] = None,
    reason: Annotated[Reason | None, typer.Option(help="Only dead letters with this reason.")] = None,
    since: Annotated[
        str | None, typer.Option(help=f"Begin with what the broker took since then. {moments.HELP}")
    ] = None,
    *,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Begin with the oldest record instead of the next one.")
    ] = False,
    follow: Annotated[
        bool,
        typer.Option(help="Go on with new records until Ctrl-C. With --no-follow: from the oldest record to the end."),
    ] = True,
    as_table: Annotated[bool, typer.Option("--table", help="A live table instead of JSON lines.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Do not abbreviate the original values of dead letters.")
    ] = False,
) -> None:
    """Print predictions, dead letters or statistics as they are committed, one JSON object a line.

    Joins no group and commits nothing. Bytes are base64. Exits with 130 on Ctrl-C, and with 0 when whoever reads its
    output has had enough.
    """
    if reason is not None and kind is not Kind.DEAD_LETTERS:
        raise typer.BadParameter("only dead letters have a reason.", param_hint="--reason")
    if key is not None and kind is Kind.STATISTICS:
        raise typer.BadParameter("statistics are of many keys.", param_hint="--key")
    since_ms = None if since is None else moments.moment_ms(since, "--since", datetime.now(UTC))
    if since_ms is None and (from_beginning or not follow):
        since_ms = 0
    chosen = settings()
    logs.configure(chosen.monitoring, program=ROLE)
    records = _records(chosen, Wanted(kind, key, reason, full), since_ms, follow=follow)
    try:
        _show(_limited(records, limit), live=follow) if as_table else _print(_limited(records, limit))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # What Python still holds for stdout would raise this again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _records(chosen: Settings, wanted: Wanted, since_ms: int | None, *, follow: bool) -> Iterator[Sequence[Printed]]:
    """Yields what is wanted, batch by batch; a batch may be empty."""
    printed = _decoder(wanted, codec(chosen.kafka, chosen.topics))
    queries = OffsetQueries(chosen.kafka, ROLE)
    partitions = queries.partitions([_topic(chosen.topics, wanted.kind)])
    begins = _begins(queries, partitions, since_ms)
    with TopicReader(chosen.kafka, ROLE) as reader:
        if follow:
            reader.follow(begins)
            while True:
                yield printed(reader.poll(POLL_RECORDS, POLL_S))
        ends = queries.ends(partitions)
        for batch in reader.read({where: range(begins[where], ends[where]) for where in partitions}, POLL_RECORDS):
            yield printed(batch)


def _topic(topics: TopicSettings, kind: Kind) -> str:
    match kind:
        case Kind.PREDICTIONS:
            return topics.predictions
        case Kind.DEAD_LETTERS:
            return topics.dead_letters
        case Kind.STATISTICS:
            return topics.statistics


def _begins(
    queries: OffsetQueries, partitions: Sequence[TopicPartition], since_ms: int | None
) -> Mapping[TopicPartition, int]:
    if since_ms is None:
        return queries.ends(partitions)
    return queries.since(partitions, since_ms) if since_ms else queries.begins(partitions)


def _decoder(wanted: Wanted, codec: Codec) -> Callable[[Sequence[Message]], Sequence[Printed]]:
    """Returns what turns messages into what is printed of them; what does not decode is told on stderr."""

    def printed(message: Message) -> Printed | None:
        if wanted.kind is Kind.PREDICTIONS:
            said = codec.decode_prediction(message.value or b"")
            return prediction(message, said) if wanted.key in {None, said.key} else None
        if wanted.kind is Kind.STATISTICS:
            return statistic(message, codec.decode_statistic(message.value or b""))
        letter = codec.decode_dead_letter(message.value or b"")
        is_wanted = wanted.key is None or letter.key == wanted.key.encode()
        is_wanted &= wanted.reason in {None, letter.reason}
        return dead_letter(message, letter, full=wanted.full) if is_wanted else None

    def decoded(messages: Sequence[Message]) -> Sequence[Printed]:
        found = []
        for message in messages:
            try:
                if (entry := printed(message)) is not None:
                    found.append(entry)
            except RecordError as error:
                _err.print(f"skipped {message}: {error}", markup=False, highlight=False, soft_wrap=True)
        return found

    return decoded


def _limited(batches: Iterator[Sequence[Printed]], limit: int | None) -> Iterator[Sequence[Printed]]:
    for batch in batches:
        if limit is None:
            yield batch
            continue
        yield batch[:limit]
        limit -= len(batch[:limit])
        if limit == 0:
            return


def _print(batches: Iterator[Sequence[Printed]]) -> None:
    for batch in batches:
        if batch:
            sys.stdout.write("".join(f"{json.dumps(entry.fields, ensure_ascii=False)}\n" for entry in batch))
            sys.stdout.flush()


def _show(batches: Iterator[Sequence[Printed]], *, live: bool) -> None:
    """Shows the newest records that fit on a terminal while they come, or all of them at the end."""
    rows: deque[Printed] = deque(maxlen=max(1, _out.height - 4) if live else None)
    count = 0
    if live and _out.is_terminal:
        with Live(table(rows, count), console=_out, auto_refresh=False) as display:
            for batch in batches:
                rows.extend(batch)
                count += len(batch)
                display.update(table(rows, count, cut=True), refresh=True)
        return
    # Piped into another program, a table is not to be cut to 80 columns.
    console = _out if _out.is_terminal else Console(width=200)
    try:
        for batch in batches:
            rows.extend(batch)
            count += len(batch)
    finally:
        console.print(table(rows, count), highlight=False)
