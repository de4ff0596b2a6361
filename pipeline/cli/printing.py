"""Predictions, dead letters and statistics as JSON objects and as rows of a table."""

import base64
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from rich.console import Group
from rich.table import Table
from rich.text import Text

from consumers.windowing import shown
from pipeline.events.records import DeadLetter, Event, Prediction, Statistic
from pipeline.kafka.contract import Message
from pipeline.search.documents import document

SHOWN_BYTES = 48
_NUMBERS = {"confidence", "latency", "bytes", "seconds", "count", "p50", "p99"}
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Printed:
    """A record for programs (`fields`, ready for JSON) and for people (`row`: columns and cells)."""

    fields: Mapping[str, Any]
    row: Mapping[str, str]


def prediction(message: Message, said: Prediction) -> Printed:
    """Returns a prediction with the fields of its schema; times in ISO 8601, as Elasticsearch has them.

    Raises:
        Invalid: a time is outside the years 1 to 9999.
    """
    body = document(said, "").body
    row = {
        "event time (UTC)": str(body["event_time"]).removesuffix("Z").replace("T", " "),
        "key": said.key,
        "label": said.label,
        "confidence": f"{said.confidence:.1%}",
        "modalities": " ".join(modality.name.lower() for modality in said.modalities),
        "latency": f"{said.latency_ms:,.0f} ms",
        "model": f"{said.model} {said.model_version}",
    }
    return Printed({"at": str(message), **body}, row)


def dead_letter(message: Message, letter: DeadLetter, *, full: bool) -> Printed:
    """Returns a dead letter with the fields of its schema, and what it says once more for people.

    `key` is text where it is UTF-8, else null; `key_base64`, `value_base64` and `headers` are base64. Without `full`,
    longer bytes are cut and end in "…", so that nobody takes them for the whole; `value_bytes` is their true number.
    """
    fields = {
        "at": str(message),
        "reason": letter.reason.value,
        "detail": letter.detail,
        "key": text_of(letter.key),
        "key_base64": _base64(letter.key, full=True),
        "value_bytes": None if letter.value is None else len(letter.value),
        "value_base64": _base64(letter.value, full=full),
        "headers": {name: _base64(value, full=full) for name, value in letter.headers.items()},
        "sources": [{"topic": s.topic, "partition": s.partition, "offset": s.offset} for s in letter.sources],
        "occurred_at": time_text(letter.occurred_at_ms),
    }
    key = text_of(letter.key)
    row = {
        "occurred at (UTC)": (time_text(letter.occurred_at_ms) or "").removesuffix("Z").replace("T", " "),
        "reason": letter.reason.value,
        "key": repr(letter.key) if key is None and letter.key is not None else key or "",
        "source": " ".join(map(str, letter.sources)),
        "bytes": "" if letter.value is None else f"{len(letter.value):,}",
        "detail": letter.detail,
    }
    return Printed(fields, row)


def statistic(message: Message, said: Statistic) -> Printed:
    """Returns a statistic with the fields of its schema and the length of its window."""
    fields = shown.fields(said)
    row = {
        "window (UTC)": (fields["window_start"] or "").removesuffix(".000Z").replace("T", " "),
        "seconds": f"{fields['window_ms'] / 1_000:g}",
        "label": said.label,
        "modalities": " ".join(modality.name.lower() for modality in said.modalities),
        "count": f"{said.count:,}",
        "confidence": f"{said.mean_confidence:.1%}",
        "p50": f"{said.latency_p50_ms:,.0f} ms",
        "p99": f"{said.latency_p99_ms:,.0f} ms",
        "model": said.model_version,
    }
    return Printed({"at": str(message), **fields}, row)


def event_fields(event: Event) -> dict[str, Any]:
    """Returns a source event with the fields of its schema; of media and values only their size in bytes."""
    fields: dict[str, Any] = {"event_time": time_text(event.event_time_ms)}
    for name, value in asdict(event).items():
        if isinstance(value, bytes):
            fields[f"{name}_bytes"] = len(value)
        elif name != "event_time_ms":
            fields[name] = value
    return fields


def table(records: Collection[Printed], count: int, *, cut: bool = False) -> Group:
    """Returns the rows, each cut to one line if so wanted, and a line that says how many records there were in all."""
    shown = f"the last {len(records):,} of {count:,} records" if len(records) < count else f"{count:,} records"
    rows = Table(box=None, pad_edge=False)
    first = next(iter(records), None)
    for column in first.row if first else ():
        justify: Literal["left", "right"] = "right" if column in _NUMBERS else "left"
        rows.add_column(column, justify=justify, no_wrap=cut, overflow="ellipsis" if cut else "fold")
    for record in records:
        rows.add_row(*(Text(cell) for cell in record.row.values()))
    return Group(rows, Text(shown, style="dim")) if records else Group(Text(shown, style="dim"))


def key_bytes(argument: str) -> bytes:
    """Returns the key that was typed, also one that is not UTF-8."""
    return argument.encode("utf-8", "surrogateescape")


def text_of(content: bytes | None) -> str | None:
    """Returns bytes as text where they are UTF-8, else None."""
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError:
        return None


def _base64(content: bytes | None, *, full: bool) -> str | None:
    if content is None:
        return None
    if full or len(content) <= SHOWN_BYTES:
        return base64.b64encode(content).decode("ascii")
    return base64.b64encode(content[:SHOWN_BYTES]).decode("ascii") + "…"


def time_text(milliseconds: int) -> str | None:
    """Returns ISO 8601 (UTC), or None for what is outside the years 1 to 9999."""
    try:
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
