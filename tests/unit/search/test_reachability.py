"""What the indexer's health says of Elasticsearch."""

import pytest

from pipeline.search.client import connect
from pipeline.search.reachability import ElasticsearchProbe
from pipeline.settings import ElasticsearchSettings
from pipeline.telemetry.health import Finding
from tests.unit.search.conftest import Reply, Serve

CASES = [
    ("it is well", (200, {"status": "green"}), True, "answers; the cluster is green."),
    ("it has lost shards", (200, {"status": "red"}), False, "answers; the cluster is red."),
    (
        "we may not ask",
        (403, {"error": {"reason": "no"}}),
        True,
        "answers; our user may not ask for the cluster's health.",
    ),
    ("it is busy", (503, {"error": {"reason": "no master"}}), False, "answers HTTP 503: no master."),
]


@pytest.mark.parametrize(("reply", "ok", "says"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_said(serve: Serve, reply: Reply, ok: bool, says: str) -> None:
    server = serve(lambda *_: reply)
    found = ElasticsearchProbe(connect(ElasticsearchSettings(url=server.url)), server.url)()
    assert found == Finding(ok=ok, says=f"{server.url} {says}")


def test_nobody_there() -> None:
    url = "http://127.0.0.1:1"
    found = ElasticsearchProbe(connect(ElasticsearchSettings(url=url)), url)()
    assert not found.ok
    assert found.says.startswith(f"{url} does not answer (")
    assert found.says.endswith("): check elasticsearch.url.")
