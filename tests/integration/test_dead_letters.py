"""`trimodal dead-letters` on the real Kafka: what was set aside is found, shown and published again, once."""

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.events.records import DeadLetter, Modality, Reason, SourceOffset
from pipeline.kafka.auditing import AuditReport, run_audit
from pipeline.kafka.contract import Output
from pipeline.kafka.producer import RecordProducer
from pipeline.telemetry.clock import wall_ms
from tests.support.events import CODEC, encoded
from tests.support.world import WAIT_S, World

pytestmark = pytest.mark.stack
USAGE = 2


@pytest.fixture
def world(bootstrap_servers: str, tmp_path: Path) -> Iterator[World]:
    with World(bootstrap_servers, tmp_path) as world:
        yield world


def said(world: World, *arguments: str, exit_code: int = 0) -> str:
    done = world.run("pipeline.cli", "dead-letters", *arguments)
    assert done.returncode == exit_code, done.stderr
    return done.stdout + done.stderr


def listed(world: World, *filters: str) -> list[dict[str, Any]]:
    done = world.run("pipeline.cli", "dead-letters", "list", "--json", *filters)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def set_aside(world: World, *letters: DeadLetter) -> None:
    with RecordProducer(world.settings.kafka, "test", 8 << 20) as producer:
        for letter in letters:
            producer.publish(Output(world.settings.topics.dead_letters, letter.key, CODEC.encode_dead_letter(letter)))


def a_letter(world: World, reason: Reason, key: bytes | None, **changes: Any) -> DeadLetter:
    source = SourceOffset(changes.pop("topic", world.settings.topics.source(Modality.SPEECH)), 0, 7)
    value = changes.pop("value", encoded(Modality.SPEECH, 1_000))
    return DeadLetter(reason, f"{reason.value} it was.", key, value, (source,), wall_ms(), changes)


def settled(world: World, records: int) -> AuditReport:
    """Audits until each of so many records has its outcome; the ledger must balance all the way."""
    deadline = time.monotonic() + WAIT_S
    while True:
        report = run_audit(world.settings)
        assert report.balances, report.verdict
        if report.verdict.total.records == records and report.is_settled:
            return report
        assert time.monotonic() < deadline, report.verdict.total


def retry_headers(letter: dict[str, Any]) -> dict[str, str]:
    return {name: base64.b64decode(value).decode() for name, value in letter["headers"].items()}


def test_letters_are_found_by_reason_key_and_topic_and_counted(world: World) -> None:
    predictions = world.settings.topics.predictions
    set_aside(
        world,
        a_letter(world, Reason.LATE, b"a"),
        a_letter(world, Reason.LATE, b"b"),
        a_letter(world, Reason.INVALID, b"a"),
        a_letter(world, Reason.REJECTED, b"a", topic=predictions),
    )
    assert [(letter["reason"], letter["key"]) for letter in listed(world, "--reason", "LATE", "--key", "b")] == [
        ("LATE", "b")
    ]
    assert {letter["reason"] for letter in listed(world, "--reason", "LATE", "--reason", "INVALID")} == {
        "LATE",
        "INVALID",
    }
    assert [letter["reason"] for letter in listed(world, "--topic", "predictions")] == ["REJECTED"]
    assert listed(world, "--since", "2126-01-01") == []
    table = said(world, "list", "--limit", "3")
    assert "the last 3 of 4 records" in table
    assert "LATE 2, INVALID 1, REJECTED 1" in table
    assert "the topics are" in said(world, "list", "--topic", "nowhere", exit_code=USAGE)


def test_one_letter_is_shown_with_its_original_decoded(world: World) -> None:
    set_aside(world, a_letter(world, Reason.LATE, b"a", label=b"7"), a_letter(world, Reason.INVALID, b"a", value=b"?"))
    late, invalid = listed(world)
    shown = said(world, "show", late["at"])
    for line in ("LATE it was.", "header label  7", "audio_bytes  1600", "event_time   1970-01-01T00:00:01.000Z"):
        assert " ".join(line.split()) in " ".join(shown.split())
    original = json.loads(said(world, "show", invalid["at"], "--json"))["original"]
    assert "It starts with 3f" in original["problem"]
    absent = f"{world.settings.topics.dead_letters}[0]@99"
    assert f"no dead letter at {absent}" in " ".join(said(world, "show", absent, exit_code=USAGE).split())
    assert "is no place" in said(world, "show", "17", exit_code=USAGE)


def test_what_cannot_be_retried_is_told_with_the_reason(world: World) -> None:
    set_aside(
        world,
        a_letter(world, Reason.TOO_LARGE, b"a", value=None),
        a_letter(world, Reason.INVALID, None),
        a_letter(world, Reason.REJECTED, b"b", topic=world.settings.topics.predictions),
    )
    told = said(world, "retry", "--yes")
    for why in ("larger than topics.max_record_bytes", "has no key", "no source record", "There is nothing to publish"):
        assert why in told
    (too_large,) = listed(world, "--reason", "TOO_LARGE")
    said(world, "retry", too_large["at"], exit_code=1)
    assert "not both" in said(world, "retry", too_large["at"], "--key", "a", exit_code=USAGE)


def test_a_retry_is_a_new_entry_of_the_ledger_and_is_made_once(world: World) -> None:
    world.replica("a")
    first_ms = wall_ms()
    with world.publishing() as send:
        send(Modality.SPEECH, b"door-17", encoded(Modality.SPEECH, first_ms))
    settled(world, records=1)
    (letter,) = listed(world)
    assert letter["reason"] == "INCOMPLETE"
    assert "Would publish: 1 record" in said(world, "retry", letter["at"], "--dry-run")
    assert "Aborted" in said(world, "retry", "--reason", "INCOMPLETE", exit_code=1)  # nobody answers the question
    settled(world, records=1)

    assert "Published 1 record." in said(world, "retry", "--reason", "INCOMPLETE", "--yes")
    settled(world, records=2)
    (again,) = listed(world, "--reason", "LATE", "--reason", "DUPLICATE")
    assert again["value_bytes"] == letter["value_bytes"]
    source = world.settings.topics.source(Modality.SPEECH)
    said_of_it = retry_headers(again)
    assert said_of_it.pop("trimodal-first-attempt").startswith(f"{source}[")
    assert said_of_it == {"trimodal-retry-of": letter["at"], "trimodal-retry-count": "1"}

    assert f"It was retried as {source}" in said(world, "retry", letter["at"], "--yes", exit_code=1)
    assert "There is nothing to publish" in said(world, "retry", "--reason", "INCOMPLETE", "--yes")
    assert "Would publish: 1 record" in said(world, "retry", letter["at"], "--again", "--dry-run")
    settled(world, records=2)


def test_a_set_of_three_joins_when_it_is_retried_with_a_new_event_time(world: World) -> None:
    world.replica("a")
    first_ms = wall_ms()
    with world.publishing() as send:
        send(Modality.SPEECH, b"door-17", encoded(Modality.SPEECH, first_ms))
        send(Modality.IMAGE, b"door-17", b"garbage")
    settled(world, records=2)
    moment_ms = wall_ms() + 20_000
    moment = datetime.fromtimestamp(moment_ms / 1_000, UTC).isoformat()
    told = said(world, "retry", "--event-time", moment, "--yes")
    assert "cannot be given another event time" in told
    assert "Published 1 record." in told
    with world.publishing() as send:
        for modality in (Modality.IMAGE, Modality.SENSOR):
            send(modality, b"door-17", encoded(modality, moment_ms))
    report = settled(world, records=5)
    assert (report.verdict.total.predicted, report.verdict.total.dead_lettered) == (3, 2)
    assert report.predictions == 1
