"""`trimodal produce`: events in."""

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.cli.context import settings
from pipeline.events.records import Event
from pipeline.telemetry.clock import wall_ms
from producers import digits as replaying
from producers import image as images
from producers import sensor as sensors
from producers import speech as recordings
from producers.errors import InvalidInput
from producers.publisher import Publisher, checked_key

if TYPE_CHECKING:
    from pipeline.digits.replay import Triple

app = typer.Typer(no_args_is_help=True, help="Publish speech, image and sensor events.")

_out = Console()
_err = Console(stderr=True)

Key = Annotated[
    str, typer.Option("--key", help="Names the moment; the three events of one key are joined. 1 to 256 bytes.")
]
EventTime = Annotated[
    str | None,
    typer.Option("--event-time", help="When it happened, ISO 8601; UTC unless it has an offset. Default: now."),
]
SourceName = Annotated[str | None, typer.Option("--source", help="Who recorded it. Default: the file's name.")]
File = Annotated[Path, typer.Argument(show_default=False)]
Probability = Annotated[float, typer.Option(min=0, max=1)]


@app.command()
def speech(key: Key, file: File, event_time: EventTime = None, source: SourceName = None) -> None:
    """Publish a recording: a mono WAV, FLAC or OGG FILE of 8 to 48 kHz and at most 30 s."""
    _publish(key, recordings.from_file(file, _moment(event_time), source or ""))


@app.command()
def image(key: Key, file: File, event_time: EventTime = None, source: SourceName = None) -> None:
    """Publish a picture: a JPEG or PNG FILE."""
    _publish(key, images.from_file(file, _moment(event_time), source or ""))


@app.command()
def sensor(
    key: Key,
    file: File,
    event_time: EventTime = None,
    source: SourceName = None,
    sample_rate: Annotated[float | None, typer.Option(help="Frames per second.")] = None,
    channels: Annotated[str | None, typer.Option(help="Names of a .npy's columns, as in x,y.")] = None,
) -> None:
    """Publish a stretch of sampled channels: a CSV or .npy FILE.

    The first line of a CSV names the channels; a first column time, time_s, time_ms or time_us gives the sample
    rate. A .npy holds an array [frames, channels] and needs --sample-rate and --channels.
    """
    moment_ms = _moment(event_time)
    if file.suffix.lower() != ".npy":
        if channels is not None:
            raise InvalidInput(f"--channels is for .npy files: {file} names its channels in its first line.")
        event = sensors.from_csv(file, moment_ms, sample_rate, source or "")
    elif sample_rate is None or channels is None:
        raise InvalidInput(f"{file} holds bare numbers: give --sample-rate and --channels.")
    else:
        names = [name.strip() for name in channels.split(",")]
        event = sensors.from_npy(file, moment_ms, sample_rate, names, source or "")
    _publish(key, event)


@app.command()
def digits(
    count: Annotated[int, typer.Option(min=1, help="Triples: three events of one digit each.")] = 100,
    rate: Annotated[float, typer.Option(min=0, help="Triples a second; 0 is as fast as possible.")] = 0.0,
    missing: Annotated[float, typer.Option(min=0, max=1, help="Probability of an event to be left out.")] = 0.0,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Probability of one to come twice.")] = 0.0,
    shuffle_ms: Annotated[int, typer.Option(min=0, help="Events come up to this late, so out of order.")] = 0,
    garbage: Annotated[int, typer.Option(min=0, help="Bad records of many kinds, beside the triples.")] = 0,
    seed: Annotated[int, typer.Option(help="Of all choices; the same seed gives the same digits.")] = 0,
    run: Annotated[str | None, typer.Option(help="Name of this replay in its keys. Default: the time.")] = None,
) -> None:
    """Replay held-out digits of the reference task as live events.

    Keys are digit-RUN-N; the true label is in each record's header `label`. Ends with what was sent and what an
    exact consumer must make of it.
    """
    replay = replaying.Replay(
        run or datetime.now(UTC).strftime("%Y%m%dT%H%M%S"),
        count=count,
        rate=rate,
        missing=missing,
        duplicates=duplicates,
        shuffle_ms=shuffle_ms,
        garbage=garbage,
        seed=seed,
    )
    checked_key(f"digit-{replay.run}-{count}")
    chosen = settings()
    with Publisher(chosen) as publisher:
        moments = replaying.moments(rate, wall_ms)
        triples = _counted(_triples(count, seed), count)
        plan = replaying.Plan(replay, triples, moments, chosen.topics, publisher.codec)
        started_s = time.monotonic()
        replaying.send(plan, publisher.send, wall_ms, time.sleep)
        publisher.flush()
        seconds = time.monotonic() - started_s
    _show(plan.summary, replay, seconds)


def _triples(count: int, seed: int) -> Iterable["Triple"]:
    with _err.status("Loading the digits"):
        from pipeline.digits.replay import triples  # noqa: PLC0415  # torch takes seconds, and only this needs it
    return triples(count, seed)


def _counted(triples: Iterable["Triple"], count: int) -> Iterator["Triple"]:
    columns = (TextColumn("Publishing triples"), *Progress.get_default_columns()[1:], MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=_err) as progress:
        yield from progress.track(triples, total=count)


def _publish(key: str, event: Event) -> None:
    checked_key(key)
    with Publisher(settings()) as publisher:
        output = publisher.publish(key, event)
        publisher.flush()
    when = datetime.fromtimestamp(event.event_time_ms / 1_000, UTC).isoformat(timespec="milliseconds")
    _say(f"Published {len(output.value):,} bytes to {output.topic} with the key {key!r} and the event time {when}.")


def _moment(event_time: str | None) -> int:
    if event_time is None:
        return wall_ms()
    try:
        moment = datetime.fromisoformat(event_time)
    except ValueError as error:
        raise InvalidInput(f"--event-time {event_time!r} is not ISO 8601: write it as 2026-01-31T12:00:00Z.") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)


def _show(summary: replaying.Summary, replay: replaying.Replay, seconds: float) -> None:
    rate = f"{summary.records / seconds:,.0f} records/s, {replay.count / seconds:,.0f} triples/s"
    _say(f"Published {summary.records:,} records of run {replay.run} in {seconds:.1f} s ({rate}).")
    table = Table("what must come of them", box=None, pad_edge=False)
    table.add_column("count", justify="right")
    table.add_row("predictions from all three", f"{summary.complete:,}")
    table.add_row("predictions from two", f"{summary.partial:,}")
    for reason, expected in sorted(summary.dead_letters.items()):
        table.add_row(f"dead letters {reason}", f"{expected:,}")
    _out.print(table)


def _say(line: str) -> None:
    _out.print(line, markup=False, highlight=False, soft_wrap=True)
