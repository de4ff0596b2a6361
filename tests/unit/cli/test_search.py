"""`trimodal search` without Elasticsearch: what it shows of what was found."""

import json

import pytest
from typer import Typer
from typer.testing import CliRunner

from pipeline.cli import search as command
from pipeline.search.documents import Hit
from pipeline.search.queries import Found
from pipeline.settings import Settings
from tests.support.predictions import a_prediction

TRACE = "a" * 32


class Searched:
    """Finds one prediction that came in a trace, and one that did not."""

    def search(self, *_query: object) -> Found:
        return Found(2, (Hit(a_prediction(1), TRACE), Hit(a_prediction(2))))


class Followed(Searched):
    """The same, as they come."""

    def new(self) -> tuple[Hit, ...]:
        return self.search().hits


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Typer:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "settings", Settings)
    monkeypatch.setattr(command, "PredictionSearch", lambda _client, _settings: Searched())
    monkeypatch.setattr(command, "Follower", lambda *_where, **_when: Followed())
    monkeypatch.setattr(command, "sleep", interrupt)
    app = Typer()
    app.command()(command.search)
    return app


@pytest.mark.parametrize("options", [[], ["--follow"]])
def test_json_names_the_trace(app: Typer, options: list[str]) -> None:
    found = [json.loads(line) for line in CliRunner().invoke(app, ["--json", *options]).stdout.splitlines()]
    assert [(one["key"], one["trace_id"]) for one in found] == [("digit-1", TRACE), ("digit-2", None)]


@pytest.mark.parametrize("options", [[], ["--follow"]])
def test_the_table_does_not(app: Typer, options: list[str]) -> None:
    shown = CliRunner().invoke(app, options).stdout
    assert "digit-1" in shown
    assert TRACE not in shown
