"""`trimodal topics`: the topics, made as the pipeline needs them."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli.context import settings
from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.topics import TopicState, lane_events_per_second
from pipeline.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Create, list and delete the topics.")

_DAY_MS = 24 * 3_600_000
_out = Console()


@app.command()
def create() -> None:
    """Create the topics that are missing and check those that are there.

    The three sources have equal partition counts (topics.partitions) and the broker's timestamps. Exits with 1 when
    a topic that is there does not fit, and says what to do.
    """
    chosen = settings()
    admin = _admin(chosen)
    new = admin.create()
    for plan in new:
        _say(f"Created {plan.name} with {plan.partitions} partitions.")
    kept = [state for state in admin.describe() if state.name not in {plan.name for plan in new}]
    for state in kept:
        _say(f"{state.name} is there with {state.partitions} partitions.")
    _say(_capacity(chosen, admin))


@app.command("list")
def list_topics() -> None:
    """List the topics and how many offsets they hold; exit with 1 if one is missing or does not fit."""
    chosen = settings()
    admin = _admin(chosen)
    states = admin.describe()
    if states:
        _show(states, admin.offset_counts())
    _say(_capacity(chosen, admin))


@app.command()
def delete(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the topics with all their records."""
    admin = _admin(settings())
    names = list(admin.partition_counts())
    if not names:
        _say("There is none of the topics.")
        return
    if not yes:
        typer.confirm(f"Delete {', '.join(names)} with all their records?", abort=True)
    for name in admin.delete():
        _say(f"Deleted {name}.")


def _admin(chosen: Settings) -> TopicAdmin:
    return TopicAdmin(chosen.kafka, chosen.topics)


def _capacity(chosen: Settings, admin: TopicAdmin) -> str:
    lanes = admin.check()
    rate = lane_events_per_second(chosen.join, admin.offset_metadata_bytes())
    return (
        f"{lanes} lanes, so at most {lanes} fusion replicas can share the work. At join.window_ms="
        f"{chosen.join.window_ms} a lane takes {rate:,} events/s of each source however many have no partner, "
        f"all lanes {lanes * rate:,}; beyond that, partitions may be paused until windows close."
    )


def _show(states: tuple[TopicState, ...], offsets: dict[str, int]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("topic")
    for column in ("partitions", "replicas", "offsets", "timestamps", "largest", "kept"):
        table.add_column(column, justify="right")
    for state in states:
        kept = f"{state.retention_ms / _DAY_MS:g} days" if state.retention_ms >= 0 else "for ever"
        largest = f"{state.max_message_bytes / 2**20:.1f} MiB"
        counts = (str(state.partitions), str(state.replicas), f"{offsets[state.name]:,}")
        table.add_row(state.name, *counts, state.timestamp_type, largest, kept)
    # Piped into another program, a table is not to be cut to 80 columns.
    (_out if _out.is_terminal else Console(width=200)).print(table)


def _say(line: str) -> None:
    _out.print(line, markup=False, highlight=False, soft_wrap=True)
