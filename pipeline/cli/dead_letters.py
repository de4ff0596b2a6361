"""`trimodal dead-letters`: look at what was set aside, and publish it again."""

import heapq
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console

from pipeline.cli import moments
from pipeline.cli.context import settings
from pipeline.cli.printing import Printed, event_fields, key_bytes, table, text_of
from pipeline.cli.printing import dead_letter as printed_letter
from pipeline.events.errors import RecordError
from pipeline.events.records import Modality, Reason, SourceOffset
from pipeline.kafka import retries
from pipeline.kafka.contract import Message
from pipeline.kafka.letters import DeadLetters, Placed, Wanted
from pipeline.kafka.registry import codec
from pipeline.search.documents import document
from pipeline.settings import Settings, TopicSettings
from pipeline.telemetry import logs
from pipeline.telemetry.clock import wall_ms

ROLE = "dead-letters"
LISTED = 20
SHOWN = 100
NOW = "now"
_PLACE = re.compile(r"(.+)\[(\d+)\]@(\d+)")
_out = Console()
_err = Console(stderr=True)

app = typer.Typer(no_args_is_help=True, help="List, show and retry what was set aside.")

_Reasons = Annotated[list[Reason] | None, typer.Option("--reason", help="Only this reason; may be given again.")]
_Key = Annotated[str | None, typer.Option(help="Only letters of this join key.")]
_Since = Annotated[str | None, typer.Option(help=f"Only what was set aside since then. {moments.HELP}")]
_Topic = Annotated[
    str | None, typer.Option(help="Only originals of this topic: speech, image, sensor, or predictions (not indexed).")
]
_Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs; bytes are base64.")]


@app.command("list")
def list_letters(
    reason: _Reasons = None,
    key: _Key = None,
    since: _Since = None,
    topic: _Topic = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Only the newest so many.")] = SHOWN,
    *,
    as_json: _Json = False,
) -> None:
    """List dead letters, the oldest first, and count them by reason.

    With --json, one object a line as in `trimodal consume dead-letters`; the counts go to stderr.
    """
    chosen = _settings()
    wanted = _wanted(chosen.topics, reason, key, since, topic)
    with _status("Reading the dead letters"):
        shown, counts = _newest(DeadLetters(chosen, ROLE).matching(wanted, _skipped), limit)
    if as_json:
        for entry in shown:
            print(json.dumps(entry.fields, ensure_ascii=False))  # noqa: T201  # rich would wrap it
    else:
        # Piped into another program, a table is not to be cut to 80 columns.
        console = _out if _out.is_terminal else Console(width=200)
        console.print(table(shown, counts.total()), highlight=False)
    if counts:
        listed = ", ".join(f"{reason.value} {count:,}" for reason, count in counts.most_common())
        (_err if as_json else _out).print(listed, markup=False, highlight=False, soft_wrap=True)


@app.command()
def show(
    place: Annotated[str, typer.Argument(help="As it is printed: 'dead-letters[2]@17'.", show_default=False)],
    *,
    as_json: _Json = False,
    full: Annotated[bool, typer.Option("--full", help="With --json: do not abbreviate the original value.")] = False,
) -> None:
    """Show everything of one dead letter, its original decoded where possible."""
    chosen = _settings()
    (placed,) = _at(DeadLetters(chosen, ROLE), [_place(place, chosen.topics)])
    fields = printed_letter(placed.message, placed.letter, full=full).fields
    original = _original(placed, chosen)
    if as_json:
        print(json.dumps({**fields, "original": original}, ensure_ascii=False))  # noqa: T201  # rich would wrap it
        return
    size = fields["value_bytes"]
    lines = {
        "dead letter": fields["at"],
        "reason": fields["reason"],
        "detail": fields["detail"],
        "occurred at": fields["occurred_at"],
        "sources": " ".join(map(str, placed.letter.sources)),
        "key": repr(placed.letter.key) if fields["key"] is None else fields["key"],
        **{f"header {name}": text_of(value) or repr(value) for name, value in placed.letter.headers.items()},
        "value": "none: it was null, or too large to be kept" if size is None else f"{size:,} bytes",
        **{f"  {name}": value for name, value in original.items()},
    }
    width = max(map(len, lines))
    for name, value in lines.items():
        _say(f"{name:<{width}}  {value}")


@app.command()
def retry(
    places: Annotated[
        list[str] | None, typer.Argument(help="Letters as they are printed: 'dead-letters[2]@17'; or use options.")
    ] = None,
    reason: _Reasons = None,
    key: _Key = None,
    since: _Since = None,
    topic: _Topic = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Publish at most so many.")] = None,
    event_time: Annotated[
        str | None, typer.Option(help=f"New event time for all: now, or a time. {moments.HELP}")
    ] = None,
    *,
    again: Annotated[bool, typer.Option("--again", help="Also what has been retried before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be published.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Publish originals again: topic, key, value and headers as they were, a key's oldest letter first.

    Three headers are added: trimodal-retry-of names the dead letter, trimodal-retry-count is 1, or 2 for a retry of a
    retry, and trimodal-first-attempt names the record that was tried first. The record gets a new offset, so the ledger
    has a new entry for it, and the dead letter stays.

    A record keeps its event time. Once its lane's watermark has passed that by join.window_ms, it is LATE again, or
    DUPLICATE while the lane remembers its first attempt, unless it amends a partial answer. `--event-time now` gives
    all of them the present time, so that a mended set of three can join; it must be more than join.window_ms after
    the first attempt's event time.

    What has been retried is found by reading the source topics from the oldest chosen letter on (only partitions of
    chosen keys), which takes long for old letters; --since and --key help. It does not find retries that retention
    has deleted, or that somebody else publishes at this very moment. After a failure just run it again.

    Exits with 1 if a letter named by its place cannot be retried.
    """
    chosen = _settings()
    letters = DeadLetters(chosen, ROLE)
    wanted = _wanted(chosen.topics, reason, key, since, topic)
    if places and wanted != Wanted():
        raise typer.BadParameter("give places, or filters, not both.", param_hint="PLACES")
    terms = retries.Terms(_event_time_ms(event_time), again, limit)
    with _status("Reading the dead letters and looking for earlier retries"):
        if places:
            found: Iterable[Placed] = _at(letters, [_place(place, chosen.topics) for place in places])
        else:
            found = letters.matching(wanted, _skipped)
        plan = retries.plan(chosen, found, terms)
    _show_refused(plan.refused)
    if plan.retries:
        _show_retries(plan.retries, "Would publish" if dry_run else "To be published")
        if not dry_run:
            _publish(chosen, letters, plan.retries, event_time, ask=not yes)
    else:
        _say("There is nothing to publish.")
    if places and plan.refused:
        raise typer.Exit(1)


def _publish(
    chosen: Settings,
    letters: DeadLetters,
    planned: Sequence[retries.Retry],
    event_time: str | None,
    *,
    ask: bool,
) -> None:
    if ask:
        typer.confirm("Publish?", abort=True, err=True)
    # "now" is when they are published, not when the question was asked.
    count = retries.publish(chosen, letters, planned, _event_time_ms(event_time))
    gone = len(planned) - count
    _say(f"Published {_records(count)}." + (f" {gone:,} letters are gone: retention has deleted them." if gone else ""))


def _show_retries(chosen: Sequence[retries.Retry], what: str) -> None:
    topics = Counter(retry.topic for retry in chosen)
    _say(f"{what}: {_records(len(chosen))} ({', '.join(f'{topic} {count:,}' for topic, count in topics.items())})")
    for retry in chosen[:LISTED]:
        _say(f"  {retry.letter} to {retry.topic}, key {retry.key.decode()!r}")
    if (more := len(chosen) - LISTED) > 0:
        _say(f"  ... and {more:,} more")


def _show_refused(refused: Sequence[retries.Refused]) -> None:
    if refused:
        _say(f"Not retried: {_records(len(refused))}")
    for letter in refused[:LISTED]:
        _say(f"  {letter.letter}: {letter.why}")
    if (more := len(refused) - LISTED) > 0:
        _say(f"  ... and {more:,} more")


def _newest(letters: Iterable[Placed], limit: int) -> tuple[list[Printed], Counter[Reason]]:
    """Returns the newest `limit` letters, the oldest of them first, and how many there are of each reason."""
    counts: Counter[Reason] = Counter()
    newest: list[tuple[int, int, int, Printed]] = []
    for placed in letters:
        counts[placed.letter.reason] += 1
        message = placed.message
        entry = (message.timestamp_ms, message.partition, message.offset, _listed(placed))
        if len(newest) < limit:
            heapq.heappush(newest, entry)
        else:
            heapq.heappushpop(newest, entry)
    return [entry[-1] for entry in sorted(newest)], counts


def _listed(placed: Placed) -> Printed:
    printed = printed_letter(placed.message, placed.letter, full=False)
    shown = {name: cell for name, cell in printed.row.items() if name != "bytes"}
    return Printed(printed.fields, {"place": str(placed.message), **shown})


def _original(placed: Placed, chosen: Settings) -> dict[str, Any]:
    """Returns the fields of the original event or prediction, or why it does not decode."""
    letter, topics = placed.letter, chosen.topics
    topic = letter.sources[0].topic if letter.sources else ""
    if letter.value is None:
        return {}
    records = codec(chosen.kafka, topics)
    try:
        if topic in topics.sources:
            return event_fields(records.decode_event(Modality(topics.sources.index(topic)), letter.value))
        if topic == topics.predictions:
            return dict(document(records.decode_prediction(letter.value), "").body)
    except RecordError as error:
        return {"problem": str(error)}
    return {"problem": f"{topic or 'nothing'} is none of the topics of these settings: look at topics.prefix."}


def _at(letters: DeadLetters, places: Sequence[SourceOffset]) -> list[Placed]:
    found = list(letters.at(places))
    if absent := [place for place in places if place not in {placed.place for placed in found}]:
        listed = ", ".join(map(str, absent))
        raise typer.BadParameter(f"there is no dead letter at {listed}: `trimodal dead-letters list` says where.")
    return found


def _place(text: str, topics: TopicSettings) -> SourceOffset:
    matched = _PLACE.fullmatch(text)
    if not matched or matched[1] != topics.dead_letters:
        example = SourceOffset(topics.dead_letters, 2, 17)
        raise typer.BadParameter(f"{text!r} is no place: write it as it is printed, such as '{example}'.")
    return SourceOffset(matched[1], int(matched[2]), int(matched[3]))


def _wanted(
    topics: TopicSettings, reasons: Sequence[Reason] | None, key: str | None, since: str | None, topic: str | None
) -> Wanted:
    since_ms = None if since is None else moments.moment_ms(since, "--since", datetime.now(UTC))
    known = (*topics.sources, topics.predictions)
    if topic is not None and topic not in known:
        topic = topics.prefix + topic
        if topic not in known:
            raise typer.BadParameter(f"the topics are {', '.join(known)}.", param_hint="--topic")
    return Wanted(frozenset(reasons or ()), None if key is None else key_bytes(key), topic, since_ms)


def _event_time_ms(text: str | None) -> int | None:
    if text is None:
        return None
    return wall_ms() if text == NOW else moments.moment_ms(text, "--event-time", datetime.now(UTC))


def _settings() -> Settings:
    chosen = settings()
    logs.configure(chosen.monitoring, program=ROLE)
    return chosen


def _skipped(message: Message, error: RecordError) -> None:
    _err.print(f"skipped {message}: {error}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _status(doing: str) -> Iterator[None]:
    if not _err.is_terminal:
        yield
        return
    with _err.status(doing):
        yield


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count:,} records"


def _say(line: str) -> None:
    _out.print(line, markup=False, highlight=False, soft_wrap=True)
