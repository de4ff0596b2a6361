from typing import Any

import pytest

from pipeline.search.client import connect
from pipeline.search.errors import MAX_REASON_CHARACTERS, Fatal, reason
from pipeline.settings import ElasticsearchSettings

CAUSE = {"type": "parse_exception", "reason": "Cannot parse 'a:[': Encountered \"<EOF>\".\nWas expecting one of:\n …"}
SHARD = {"reason": {"type": "query_shard_exception", "reason": "Failed to parse query [a:[]", "caused_by": CAUSE}}
REASONS: list[tuple[str, Any, str]] = [
    (
        "a query that does not parse, from the general to the particular",
        {"error": {"reason": "all shards failed", "failed_shards": [SHARD]}, "status": 400},
        "Failed to parse query [a:[]: Cannot parse 'a:[': Encountered \"<EOF>\"",
    ),
    (
        "a cause that says the same again",
        {"reason": "failed: For input string: x", "caused_by": {"reason": "For input string: x"}},
        "failed: For input string: x",
    ),
    ("an item of a bulk answer", {"type": "t", "reason": "[1:2] no such field"}, "[1:2] no such field"),
    ("an error that is a text", {"error": "no handler found", "status": 400}, "no handler found"),
    ("a type without a reason", {"error": {"type": "timeout_exception", "reason": None}}, "timeout_exception"),
    ("a page of a proxy", "<html>502</html>\n<body>", "<html>502</html>"),
    ("nothing", "", "no reason given"),
    ("an empty object", {}, "no reason given"),
]


@pytest.mark.parametrize(("body", "told"), [case[1:] for case in REASONS], ids=[case[0] for case in REASONS])
def test_a_reason_is_one_line(body: Any, told: str) -> None:
    assert reason(body) == told


def test_a_long_reason_keeps_its_ends() -> None:
    told = reason({"reason": f"id [{'x' * 40_000}] is too long"})
    assert len(told) <= MAX_REASON_CHARACTERS
    assert told.startswith("id [xx")
    assert told.endswith("xx] is too long")


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1", "127.0.0.1:9200"])
def test_an_url_that_is_no_address_is_named(url: str) -> None:
    with pytest.raises(Fatal, match=r"elasticsearch\.url = .* is not an address"):
        connect(ElasticsearchSettings(url=url))
