"""The saved objects for Kibana: what they refer to is there, and every field they use is in the index template."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.kibana.generate import text
from pipeline.settings import ElasticsearchSettings
from tests.support.kibana import problems

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kibana"
CONTENT = (FOLDER / "trimodal.ndjson").read_text(encoding="utf-8")
OBJECTS: list[dict[str, Any]] = [json.loads(line) for line in CONTENT.splitlines()]
BY_ID = {entry["id"]: entry for entry in OBJECTS}


def test_nothing_is_wrong_with_them() -> None:
    assert problems(OBJECTS) == []


def test_their_ids_are_their_own() -> None:
    assert len(BY_ID) == len(OBJECTS) == 14


def test_the_file_is_what_the_generator_writes() -> None:
    assert text() == CONTENT, "run python -m deploy.kibana.generate"


def test_the_data_view_is_of_the_alias() -> None:
    assert BY_ID["trimodal-predictions"]["attributes"]["title"] == ElasticsearchSettings().alias


def test_the_dashboard_shows_every_panel() -> None:
    shown = {reference["id"] for reference in BY_ID["trimodal-overview"]["references"]}
    assert shown == {entry["id"] for entry in OBJECTS if entry["type"] in {"lens", "search"}}
    titles = {BY_ID[name]["attributes"]["title"].removeprefix("trimodal: ") for name in shown}
    assert titles >= {
        "Predictions per minute by label",
        "Confidence distribution",
        "Modalities used",
        "Latency percentiles",
        "Model versions side by side",
        "Partials and amendments",
        "latest predictions",
    }


def _columns(objects: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    state = objects[f"trimodal-{name}"]["attributes"]["state"]
    columns: dict[str, Any] = state["datasourceStates"]["formBased"]["layers"]["layer"]["columns"]
    return columns


Spoil = Callable[[dict[str, dict[str, Any]]], object]
SPOILT: list[tuple[str, Spoil, str]] = [
    ("a panel is gone", lambda o: o.pop("trimodal-modalities-used"), "no lens trimodal-modalities-used is in the file"),
    (
        "an unknown field",
        lambda o: _columns(o, "latency-percentiles")["p50"].update(sourceField="latency"),
        "the index template has no such field",
    ),
    (
        "a percentile of a name",
        lambda o: _columns(o, "latency-percentiles")["p50"].update(sourceField="label"),
        "percentile of label, which is keyword",
    ),
    (
        "a date of a number",
        lambda o: _columns(o, "latency-percentiles")["time"].update(sourceField="latency_ms"),
        "date_histogram of latency_ms, which is float",
    ),
    (
        "a query for an unknown field",
        lambda o: _columns(o, "partial-now")["value"]["filter"].update(query="amended : true"),
        "a query names amended",
    ),
    ("a column less", lambda o: _columns(o, "model-versions").pop("p99"), "its columns and their order differ"),
    ("a column too many", lambda o: _columns(o, "partial-now").update(x=_columns(o, "partial-now")["value"]), "shows"),
    ("no data view", lambda o: o["trimodal-latest"]["references"].clear(), "no reference is called"),
    (
        "a column of the search",
        lambda o: o["trimodal-latest"]["attributes"]["columns"].append("shard"),
        "a column names shard",
    ),
    ("a newer Kibana", lambda o: o["trimodal-latest"].update(coreMigrationVersion="9.1.0"), "of a newer Kibana"),
    (
        "overlapping panels",
        lambda o: o["trimodal-overview"]["attributes"].update(
            panelsJSON=o["trimodal-overview"]["attributes"]["panelsJSON"].replace('"x": 12', '"x": 11')
        ),
        "overlaps or leaves the grid",
    ),
]


@pytest.mark.parametrize(("spoil", "told"), [c[1:] for c in SPOILT], ids=[c[0] for c in SPOILT])
def test_what_is_spoilt_is_found(spoil: Spoil, told: str) -> None:
    objects = copy.deepcopy(BY_ID)
    spoil(objects)
    assert any(told in problem for problem in problems(list(objects.values())))
