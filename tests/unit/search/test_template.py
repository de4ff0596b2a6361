import hashlib
import json
from datetime import date
from typing import Any

import pytest

import schemas
from pipeline.search.template import MAPPINGS, VERSION, index_of, index_template, is_dated
from schemas import Name


def _field_names(schema: Any) -> set[str]:
    return {field["name"] for field in schema["fields"]}


def test_every_field_of_a_prediction_is_mapped_and_beside_them_its_trace() -> None:
    prediction = schemas.load(Name.PREDICTION)
    assert MAPPINGS["dynamic"] == "strict"
    assert MAPPINGS["properties"].keys() == _field_names(prediction) | {"trace_id"}
    sources = next(field for field in prediction["fields"] if field["name"] == "sources")
    assert MAPPINGS["properties"]["sources"]["dynamic"] == "strict"
    assert MAPPINGS["properties"]["sources"]["properties"].keys() == _field_names(sources["type"]["items"])


def test_the_longer_of_two_aliases_wins() -> None:
    broad, narrow = (index_template(alias, has_ilm=False) for alias in ("predictions", "predictions-eu"))
    assert broad["index_patterns"] == ["predictions-*.*.*"]
    assert narrow["priority"] > broad["priority"]


@pytest.mark.parametrize(
    ("index", "belongs"),
    [
        ("predictions-2026.01.31", True),
        ("predictions-eu-2026.01.31", False),
        ("predictions-2026.01.31-copy", False),
        ("predictions", False),
    ],
)
def test_an_index_belongs_to_the_alias_whose_name_and_a_day_it_has(index: str, belongs: bool) -> None:
    assert is_dated(index, "predictions") is belongs


def test_a_days_index_belongs_to_its_alias() -> None:
    assert index_of("p", date(2026, 1, 31)) == "p-2026.01.31"
    assert is_dated(index_of("p", date(99, 1, 1)), "p")


def test_a_changed_template_has_a_new_version() -> None:
    """Otherwise a server would keep the old one beside new indexers: raise VERSION, then put the new digest here."""
    content = json.dumps({**index_template("p", has_ilm=True), "version": None}, sort_keys=True)
    assert (VERSION, hashlib.sha256(content.encode()).hexdigest()[:12]) == (3, "1cbb7076c040")
