"""`trimodal search` on the real Elasticsearch."""

import json
import re

import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from pipeline.cli import search as command
from pipeline.settings import Settings
from pipeline.stack import StackAddresses
from tests.support.indexing import Workplace
from tests.support.two_days import two_days

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def place(stack: StackAddresses) -> Workplace:
    return two_days(stack)


def _run(monkeypatch: pytest.MonkeyPatch, settings: Settings, *arguments: str) -> Result:
    app = Typer()
    app.command()(command.search)
    monkeypatch.setattr(command, "settings", lambda: settings)
    return CliRunner().invoke(app, arguments)


def test_the_command_prints_a_table(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    result = _run(monkeypatch, place.settings, "label:3 AND confidence:>0.9")
    assert result.exit_code == 0
    header, row, total = result.stdout.splitlines()
    assert re.split(r"  +", header.strip()) == [
        "event time (UTC)",
        "key",
        "label",
        "confidence",
        "modalities",
        "latency",
        "model",
    ]
    assert re.split(r" {2,}", row.strip()) == [
        "2026-01-01 12:00:00.000",
        "digit-0",
        "3",
        "95.0%",
        "speech image sensor",
        "42 ms",
        "digits-small 1.0.0",
    ]
    assert total == "1 match."


def test_the_command_prints_json_lines(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    result = _run(monkeypatch, place.settings, "label:3", "--json", "--until", "2026-01-01T12:30")
    (line,) = result.stdout.splitlines()
    assert line.startswith('{"prediction_id": "id-0", "key": "digit-0", "event_time": "2026-01-01T12:00:00.000Z"')
    assert json.loads(line)["trace_id"] is None


def test_the_command_aggregates(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    header, first, *_, total = _run(monkeypatch, place.settings, "--aggregate", "label").stdout.splitlines()
    assert re.split(r" {2,}", header.strip()) == ["label", "predictions", "share", "mean confidence"]
    assert first.split() == ["3", "2", "50.0%", "72.5%"]
    assert total == "4 matches."
    lines = _run(monkeypatch, place.settings, "label:4", "--aggregate", "model_version", "--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"model_version": "1.0.0", "predictions": 1, "mean_confidence": pytest.approx(0.99)}
    ]


def test_the_command_follows_until_it_is_interrupted(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "sleep", interrupt)
    result = _run(monkeypatch, place.settings, "label:3", "--follow", "--since", "2026-01-01")
    assert [line.split()[:4] for line in result.stdout.splitlines()] == [
        ["2026-01-01", "12:00:00.000", "digit-0", "3"],
        ["2026-01-01", "13:00:00.000", "digit-1", "3"],
    ]
    assert result.exit_code == 130


def test_the_command_does_not_follow_and_aggregate(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    result = _run(monkeypatch, place.settings, "--follow", "--aggregate", "label")
    assert result.exit_code == 2
    assert "goes with neither" in result.output


@pytest.mark.parametrize("age", ["15m", "7d"])
def test_the_command_takes_an_age(place: Workplace, monkeypatch: pytest.MonkeyPatch, age: str) -> None:
    result = _run(monkeypatch, place.settings, "--since", age)
    assert result.stdout == f"No prediction under {place.settings.elasticsearch.alias} matches.\n"


def test_the_command_refuses_what_is_no_time(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    result = _run(monkeypatch, place.settings, "--since", "yesterday")
    assert result.exit_code == 2
    assert "'yesterday' is no time" in result.output
