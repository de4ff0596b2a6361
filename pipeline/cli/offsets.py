"""`trimodal offsets`: what the fusion group has committed, and the way out when it cannot be read."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.cli import context
from pipeline.join import offset_map
from pipeline.join.tracker import Position
from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.contract import Committed, TopicPartition
from pipeline.kafka.groups import reset as reset_group
from pipeline.kafka.offsets import OffsetQueries
from pipeline.kafka.reader import TopicReader
from pipeline.settings import Settings
from pipeline.telemetry.clock import wall_ms

app = typer.Typer(no_args_is_help=True, help="Show and reset what the fusion group has committed.")
_Group = Annotated[str | None, typer.Option(help="Sets kafka.group.")]
_out = Console()


class Target(StrEnum):
    """Where a group can be made to begin."""

    EARLIEST = "earliest"
    LATEST = "latest"
    COMMITTED = "committed"


@dataclass(frozen=True, slots=True)
class Row:
    """What is committed for one partition; `problem` says why its map cannot be read."""

    where: TopicPartition
    committed: Committed
    position: Position | None
    problem: str = ""


@app.command()
def show(group: _Group = None) -> None:
    """Show what is committed for each partition: offset, map size, unfinished records and the oldest one's age.

    Exits with 1 if a map cannot be read, with the reason.
    """
    settings = context.settings({"kafka": {"group": group}})
    rows = _rows(settings)
    if not rows:
        _out.print(f"The group {settings.kafka.group} has committed nothing.", markup=False)
        return
    ages_ms = _oldest_ages_ms(settings, rows)
    ends = OffsetQueries(settings.kafka, "offsets").ends([row.where for row in rows], written=True)
    limit = TopicAdmin(settings.kafka, settings.topics).offset_metadata_bytes() - 1
    table = Table(box=None, pad_edge=False)
    table.add_column("partition")
    for column in ("committed", "end", "map", "of limit", "unfinished", "oldest"):
        table.add_column(column, justify="right")
    for row in rows:
        characters = len(row.committed.metadata)
        age_ms = ages_ms.get(row.where)
        table.add_row(
            escape(str(row.where)),
            f"{row.committed.offset:,}",
            f"{ends[row.where]:,}",
            f"{characters:,}",
            f"{characters / limit:.1%}",
            "[red]unreadable[/]" if row.position is None else f"{len(row.position.unfinished):,}",
            "" if age_ms is None else f"{age_ms / 1_000:,.1f} s",
        )
    (_out if _out.is_terminal else Console(width=200)).print(table, highlight=False)
    problems = [row.problem for row in rows if row.problem]
    for problem in problems:
        _out.print(f"\n{problem}", markup=False, highlight=False, soft_wrap=True)
    if problems:
        raise typer.Exit(1)


@app.command()
def reset(
    to: Annotated[Target, typer.Option(help="Where the group begins: committed keeps offsets and drops the maps.")],
    group: _Group = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Set the group's positions anew, without maps. Stop all its replicas first.

    Records that already have an outcome and lie behind the new position get another one (`trimodal audit` counts them
    as doubled); records before it that had none never get one (lost).
    """
    settings = context.settings({"kafka": {"group": group}})
    queries = OffsetQueries(settings.kafka, "offsets")
    partitions = queries.partitions(settings.topics.sources)
    match to:
        case Target.EARLIEST:
            offsets = queries.begins(partitions)
        case Target.LATEST:
            offsets = queries.ends(partitions)
        case Target.COMMITTED:
            committed = queries.committed(settings.kafka.group, partitions)
            offsets = {where: entry.offset for where, entry in committed.items()}
    if not yes:
        typer.confirm(f"Set the group {settings.kafka.group} to {to}, without its maps?", abort=True)
    positions = {
        where: Committed(offset, offset_map.encode(Position.at(offset), where.topic, where.partition))
        for where, offset in offsets.items()
    }
    reset_group(settings.kafka, settings.kafka.group, positions)
    _out.print(f"The group {settings.kafka.group} begins at {to} in {len(positions)} partitions.", markup=False)


def _rows(settings: Settings) -> list[Row]:
    queries = OffsetQueries(settings.kafka, "offsets")
    committed = queries.committed(settings.kafka.group, queries.partitions(settings.topics.sources))
    return [_row(where, entry) for where, entry in sorted(committed.items(), key=lambda item: str(item[0]))]


def _row(where: TopicPartition, committed: Committed) -> Row:
    try:
        position = offset_map.decode(committed.metadata, where.topic, where.partition, committed.offset)
    except offset_map.UnreadableMap as error:
        return Row(where, committed, None, str(error))
    return Row(where, committed, position)


def _oldest_ages_ms(settings: Settings, rows: list[Row]) -> dict[TopicPartition, int]:
    """Returns how long ago the broker took each partition's oldest unfinished record."""
    oldest = {
        row.where: range(row.position.low, row.position.low + 1)
        for row in rows
        if row.position and row.position.unfinished
    }
    if not oldest:
        return {}
    now_ms = wall_ms()
    with TopicReader(settings.kafka, "offsets") as reader:
        return {
            TopicPartition(message.topic, message.partition): now_ms - message.timestamp_ms
            for batch in reader.read(oldest)
            for message in batch
        }
