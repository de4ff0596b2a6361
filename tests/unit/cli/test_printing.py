"""Predictions, dead letters and verdicts as they are printed."""

import base64
import io
import json
from datetime import UTC, datetime

import pytest
import typer
from rich.console import Console

from pipeline.cli.audit import as_object, verdict_line
from pipeline.cli.moments import moment_ms
from pipeline.cli.printing import SHOWN_BYTES, Printed, dead_letter, prediction, table
from pipeline.events.records import DeadLetter, Reason, SourceOffset
from pipeline.join.audit import Account, Listed, Verdict
from pipeline.kafka.auditing import AuditReport
from pipeline.kafka.contract import Message
from tests.support.predictions import NOON_MS, PREDICTION

MESSAGE = Message("out", 1, 9, 0, None, None)
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def a_letter(key: bytes | None = b"k", value: bytes | None = b"v", occurred_at_ms: int = NOON_MS) -> DeadLetter:
    sources = (SourceOffset("speech", 0, 1),)
    return DeadLetter(Reason.LATE, "Too late.", key, value, sources, occurred_at_ms, {"trace": b"\xff"})


def shown(records: list[Printed], count: int) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(table(records, count))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def report(listed: Listed | None = None, unreadable: tuple[str, ...] = (), **figures: int) -> AuditReport:
    verdict = Verdict({"speech": Account(**figures)}, listed or Listed())
    return AuditReport(verdict, "group", True, 3, {Reason.LATE: 1}, unreadable)  # as dataclasses are made


def test_a_prediction_has_its_place_and_the_fields_of_its_schema() -> None:
    fields = json.loads(json.dumps(prediction(MESSAGE, PREDICTION).fields))
    assert fields["at"] == "out[1]@9"
    assert (fields["key"], fields["event_time"]) == ("digit-7", "2026-01-01T12:00:00.000Z")
    assert fields["probabilities"] == {"7": 0.93, "1": 0.07}


def test_long_values_are_cut_so_that_nobody_takes_them_for_the_whole() -> None:
    letter = a_letter(value=bytes(range(256)))
    cut = dead_letter(MESSAGE, letter, full=False).fields
    assert cut["value_base64"] == base64.b64encode(bytes(range(SHOWN_BYTES))).decode() + "…"
    assert cut["value_bytes"] == 256
    whole = dead_letter(MESSAGE, letter, full=True).fields
    assert base64.b64decode(whole["value_base64"]) == letter.value
    assert base64.b64decode(whole["headers"]["trace"]) == b"\xff"


@pytest.mark.parametrize(
    ("key", "text", "encoded"), [(b"k", "k", "aw=="), (b"\xff", None, "/w=="), (None, None, None), (b"", "", "")]
)
def test_keys_that_are_no_text_are_still_told(key: bytes | None, text: str | None, encoded: str | None) -> None:
    fields = dead_letter(MESSAGE, a_letter(key=key), full=False).fields
    assert (fields["key"], fields["key_base64"]) == (text, encoded)


def test_values_that_were_null_and_times_that_are_none_stay_null() -> None:
    fields = dead_letter(MESSAGE, a_letter(value=None, occurred_at_ms=2**60), full=False).fields
    assert (fields["value_base64"], fields["value_bytes"], fields["occurred_at"]) == (None, None, None)


def test_a_table_says_how_many_records_there_were() -> None:
    entry = dead_letter(MESSAGE, a_letter(key=b"[red]"), full=False)
    assert "the last 1 of 7 records" in shown([entry], 7)
    assert "[red]" in shown([entry], 7)
    assert "0 records" in shown([], 0)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("15m", NOON_MS - 900_000),
        ("2d", NOON_MS - 172_800_000),
        ("2026-01-01T12:00", NOON_MS),
        ("2026-01-01T13:00+01:00", NOON_MS),
    ],
)
def test_ages_and_times(text: str, ms: int) -> None:
    assert moment_ms(text, "--since", NOW) == ms


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="'yesterday' is no time"):
        moment_ms("yesterday", "--since", NOW)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            report(records=9_004, predicted=9_000, dead_lettered=3, open=1),
            "The ledger balances: 9,004 source records, 9,000 in predictions, 3 in dead letters, 1 open.",
        ),
        (
            report(records=2, predicted=1, unproven=1),
            "The ledger balances: 2 source records, 1 in predictions, 0 in dead letters, 0 open, "
            "1 older than what retention has left.",
        ),
        (report(records=3, lost=2, doubled=1, unknown=4), "The ledger does not balance: 2 lost, 1 doubled, 4 unknown."),
        (
            report(unreadable=("out[0]@1",)),
            "The ledger does not balance: 1 outputs that do not decode.",
        ),
    ],
)
def test_the_verdict(given: AuditReport, line: str) -> None:
    assert verdict_line(given) == line


def test_a_report_for_programs() -> None:
    lost = (SourceOffset("speech", 0, 4),)
    said = json.loads(json.dumps(as_object(report(Listed(lost=lost), records=1, lost=1))))
    assert said["lost"] == [{"topic": "speech", "partition": 0, "offset": 4}]
    assert (said["balances"], said["settled"], said["total"]["lost"]) == (False, True, 1)
    assert said["dead_letters"] == {"LATE": 1}
