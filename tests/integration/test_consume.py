"""`trimodal consume` and `trimodal audit` as processes: in a pipe, with Ctrl-C, and their exit codes."""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.events.records import Reason
from pipeline.join.tracker import Position
from tests.support.own_topics import CODEC, WAIT_S, OwnTopics
from tests.support.predictions import a_prediction

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def own(bootstrap_servers: str) -> Iterator[OwnTopics]:
    own = OwnTopics(bootstrap_servers)
    yield own
    own.delete()


def started(own: OwnTopics, *arguments: str) -> subprocess.Popen[str]:
    variables = {
        "TRIMODAL_KAFKA__BOOTSTRAP_SERVERS": own.settings.kafka.bootstrap_servers,
        "TRIMODAL_KAFKA__GROUP": own.settings.kafka.group,
        "TRIMODAL_TOPICS__PREFIX": own.topics.prefix,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        cwd=ROOT,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(own: OwnTopics, *arguments: str, exit_code: int = 0) -> str:
    with started(own, *arguments) as process:
        out, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == exit_code, err
    return out


def lines(own: OwnTopics, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output(own, "consume", *arguments).splitlines()]


def test_predictions_as_json_lines(own: OwnTopics) -> None:
    for offset in range(5):
        own.predict(own.source(offset))
    found = lines(own, "predictions", "--no-follow")
    assert sorted(line["key"] for line in found) == [f"digit-{number}" for number in range(1, 6)]
    assert {"topic": own.speech, "partition": 0, "offset": 4} in [
        source for line in found for source in line["sources"]
    ]
    (one,) = lines(own, "predictions", "--from-beginning", "--key", "digit-3", "--limit", "1")
    assert (one["key"], one["event_time"], one["confidence"]) == ("digit-3", "2026-01-01T12:00:00.000Z", 0.93)


def test_dead_letters_by_reason_and_as_a_table(own: OwnTopics) -> None:
    own.dead_letter(own.source(0))
    own.dead_letter(own.source(1), reason=Reason.MISROUTED)
    own.publish(own.topics.dead_letters, b"no dead letter")
    (one,) = lines(own, "dead-letters", "--no-follow", "--reason", "MISROUTED")
    assert (one["reason"], one["key"], base64.b64decode(one["value_base64"])) == ("MISROUTED", "a", b"b")
    table = output(own, "consume", "dead-letters", "--no-follow", "--table")
    assert "MISROUTED" in table
    assert f"{own.speech}[0]@0" in table
    assert "2 records" in table


def test_ctrl_c_and_a_closed_pipe_end_it_without_a_traceback(own: OwnTopics) -> None:
    own.predict(own.source(0))
    for end, exit_code in [("ctrl-c", 130), ("closed pipe", 0)]:
        with started(own, "consume", "predictions", "--from-beginning") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert json.loads(process.stdout.readline())["key"] == "digit-1"
            if end == "ctrl-c":
                process.send_signal(signal.SIGINT)
            else:
                process.stdout.close()
                own.predict(own.source(1))
            assert process.wait(timeout=WAIT_S) == exit_code
            assert process.stderr.read() == ""


def test_the_audit_exits_with_1_when_something_is_lost(own: OwnTopics) -> None:
    own.publish(own.speech, b"0", b"1")
    own.publish(own.topics.predictions, CODEC.encode_prediction(a_prediction(1, sources=(own.source(0),))))
    own.commit(Position(low=1, high=2, unfinished=(1,), replay_from=0))
    said = output(own, "audit", "--require-settled", exit_code=1)
    assert "The ledger balances: 2 source records, 1 in predictions, 0 in dead letters, 1 open." in said
    own.commit(Position.at(2))
    report = json.loads(output(own, "audit", "--json", exit_code=1))
    assert not report["balances"]
    assert report["settled"]
    assert report["lost"] == [{"topic": own.speech, "partition": 0, "offset": 1}]
    assert report["topics"][own.speech]["lost"] == 1
