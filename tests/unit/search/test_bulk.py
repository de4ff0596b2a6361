import json
import socket
from typing import Any

import pytest

from pipeline.search.bulk import Backoff, Bulk, Indexed, Outcome, Rejected
from pipeline.search.client import connect
from pipeline.search.documents import Document
from pipeline.search.errors import Fatal
from pipeline.settings import ElasticsearchSettings
from tests.unit.search.conftest import Reply, Script, Serve

A, B, C, D = (Document("p-2026.01.01", name, {"label": name}) for name in "abcd")
CONFLICT = {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "already exists"}}
STRICT = {"status": 400, "error": {"type": "strict_dynamic_mapping_exception", "reason": "[bogus] is not allowed"}}
BUSY = {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "queue is full"}}
NO_ROOM = {"status": 400, "error": {"type": "validation_exception", "reason": "maximum shards open"}}
BLOCKED = {"status": 403, "error": {"type": "cluster_block_exception", "reason": "index read-only"}}

ITEMS: list[tuple[str, dict[str, Any], type[Outcome], str]] = [
    ("rejected by the mapping", STRICT, Rejected, "p-2026.01.01/a: [bogus] is not allowed"),
    ("write queue full", BUSY, Backoff, "queue is full"),
    ("no shard can be made", NO_ROOM, Backoff, "maximum shards open"),
    ("disk full, index read-only", BLOCKED, Backoff, "index read-only"),
    ("shard not available", {"status": 503, "error": {"type": "unavailable_shards_exception"}}, Backoff, "503"),
]


def _write(url: str, *documents: Document) -> tuple[Outcome, ...]:
    settings = ElasticsearchSettings(url=url, request_timeout_ms=2_000)
    return Bulk(connect(settings), url).write(documents)


def _always(status: int, reply: Any) -> Script:
    return lambda *_: (status, reply)


def _items(*results: dict[str, Any]) -> Reply:
    return 200, {"errors": True, "items": [{"index": result} for result in results]}


def test_created_and_known_documents_are_indexed(serve: Serve) -> None:
    server = serve(lambda *_: _items({"status": 201}, CONFLICT))
    assert _write(server.url, A, B) == (Indexed(new=True), Indexed(new=False))
    assert [json.loads(line) for line in server.asked[0][2].splitlines()] == [
        {"index": {"_index": "p-2026.01.01", "_id": "a", "version": 1, "version_type": "external"}},
        {"label": "a"},
        {"index": {"_index": "p-2026.01.01", "_id": "b", "version": 1, "version_type": "external"}},
        {"label": "b"},
    ]


@pytest.mark.parametrize(("result", "kind", "told"), [c[1:] for c in ITEMS], ids=[c[0] for c in ITEMS])
def test_one_document_does_not_harm_the_others(
    serve: Serve, result: dict[str, Any], kind: type[Outcome], told: str
) -> None:
    outcome, other = _write(serve(lambda *_: _items(result, {"status": 201})).url, A, B)
    assert other == Indexed(new=True)
    assert isinstance(outcome, kind)
    assert isinstance(outcome, Rejected | Backoff)
    assert told in outcome.why


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again_later(serve: Serve, status: int) -> None:
    server = serve(_always(status, {"error": {"reason": "too much to do"}, "status": status}))
    for outcome in _write(server.url, A, B):
        assert isinstance(outcome, Backoff)
        assert "too much to do" in outcome.why
    assert len(server.asked) == 1, "the client must not retry by itself"


def test_a_server_that_is_gone_is_asked_again_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (outcome,) = _write(f"http://127.0.0.1:{port}", A)
    assert outcome == Backoff(
        f"While indexing 1 documents at http://127.0.0.1:{port}: no answer (Connection refused): "
        "check elasticsearch.url, or run `trimodal stack up`."
    )


def test_wrong_credentials_are_fatal(serve: Serve) -> None:
    server = serve(_always(401, {"error": {"reason": "unable to authenticate"}, "status": 401}))
    with pytest.raises(Fatal, match=r"unable to authenticate \(HTTP 401\): check elasticsearch\.api_key"):
        _write(server.url, A)


@pytest.mark.parametrize("status", [400, 413])
def test_a_request_refused_as_a_whole_is_halved_until_the_culprit_is_alone(serve: Serve, status: int) -> None:
    def script(_method: str, _path: str, body: str) -> Reply:
        ids = [json.loads(line)["index"]["_id"] for line in body.splitlines()[::2]]
        if "c" in ids:
            return status, {"error": {"reason": "not this one"}, "status": status}
        return _items(*({"status": 201} for _ in ids))

    outcomes = _write(serve(script).url, A, B, C, D)
    assert [type(outcome) for outcome in outcomes] == [Indexed, Indexed, Rejected, Indexed]
    assert isinstance(outcomes[2], Rejected)
    assert "p-2026.01.01/c: not this one" in outcomes[2].why


def test_nothing_is_sent_for_nothing() -> None:
    assert _write("http://127.0.0.1:1") == ()
