import json
from typing import Any

import pytest

from pipeline.search.client import connect
from pipeline.search.errors import Fatal, SearchFailure
from pipeline.search.installation import Policy, examine, install
from pipeline.search.template import MAPPINGS, VERSION
from pipeline.settings import ElasticsearchSettings
from tests.unit.search.conftest import Reply, Serve

POLICY = "/_ilm/policy/trimodal-p"
TEMPLATE = "/_index_template/p"
INDEX = "p-2026.01.01"
NOT_FOUND = {"error": {"type": "resource_not_found_exception", "reason": "not found"}, "status": 404}
COMPLETE = {
    "aliases": {"p": {}},
    "mappings": MAPPINGS,
    "settings": {"index.lifecycle.name": "trimodal-p", "index.lifecycle.parse_origination_date": "true"},
}


class Server:
    """Keeps the policy and the template that are put, and gives them back the way Elasticsearch does."""

    def __init__(self, indices: dict[str, Any] | None = None, without_ilm: int | None = None) -> None:
        self.indices = indices or {}
        self.without_ilm = without_ilm
        self.kept: dict[str, Any] = {}
        self.changed: list[str] = []

    def __call__(self, method: str, path: str, body: str) -> Reply:
        if method == "PUT":
            self.kept[path] = json.loads(body or "{}")
            self.changed.append(path)
            return 200, {"acknowledged": True}
        return self._answer(path) or (404, NOT_FOUND)

    def _answer(self, path: str) -> Reply | None:
        match path:
            case "/p/_alias" if "p" in self.indices:
                answer = self.indices
            case "/_ilm/policy/trimodal-p" if self.without_ilm is not None:
                return self.without_ilm, {"error": "Incorrect HTTP method", "status": self.without_ilm}
            case "/_ilm/policy/trimodal-p" if path in self.kept:
                policy = self.kept[path]["policy"]
                policy["phases"]["delete"]["actions"]["delete"] = {"delete_searchable_snapshot": True}
                answer = {"trimodal-p": {"policy": policy}}
            case "/_index_template/p" if path in self.kept:
                answer = {"index_templates": [{"index_template": _flat(self.kept[path])}]}
            case "/p-*.*.*":
                answer = self.indices
            case "/p-*.*.*/_stats/docs,store":
                sizes = {"primaries": {"docs": {"count": 7}}, "total": {"store": {"size_in_bytes": 2048}}}
                answer = {"indices": dict.fromkeys(self.indices, sizes)}
            case _:
                return None
        return 200, answer


def _flat(body: dict[str, Any]) -> dict[str, Any]:
    inner = body["template"]
    settings = {f"index.{name}": json.dumps(value).strip('"') for name, value in inner["settings"].items()}
    return {**body, "template": {**inner, "settings": settings}}


def _settings(url: str, retention_days: int = 9) -> ElasticsearchSettings:
    return ElasticsearchSettings(url=url, alias="p", retention_days=retention_days)


def _install(url: str, retention_days: int = 9) -> tuple[str, ...]:
    settings = _settings(url, retention_days)
    return install(connect(settings), settings)


def _differences(url: str) -> list[str]:
    settings = _settings(url)
    return list(examine(connect(settings), settings).differences())


def test_where_there_is_ilm_indices_are_deleted_by_the_day_in_their_name(serve: Serve) -> None:
    server = Server()
    url = serve(server).url
    assert [done.split(":")[0] for done in _install(url)] == ["ILM policy trimodal-p", "Index template p, version 3."]
    phases = server.kept[POLICY]["policy"]["phases"]
    assert list(phases) == ["hot", "delete"]
    assert phases["delete"]["min_age"] == "9d"
    settings = server.kept[TEMPLATE]["template"]["settings"]
    assert settings["lifecycle.name"] == "trimodal-p"
    assert settings["lifecycle.parse_origination_date"] is True
    assert _differences(url) == []


def test_a_second_time_nothing_is_changed(serve: Serve) -> None:
    server = Server({INDEX: COMPLETE})
    url = serve(server).url
    _install(url)
    server.changed.clear()
    assert _install(url) == ()
    assert server.changed == []


def test_another_retention_changes_the_policy_alone(serve: Serve) -> None:
    server = Server()
    url = serve(server).url
    _install(url, retention_days=30)
    assert _differences(url) == ["The ILM policy trimodal-p is not as elasticsearch.retention_days asks."]
    server.changed.clear()
    assert _install(url) == ("ILM policy trimodal-p: indices are deleted 9 days after their day.",)
    assert server.changed == [POLICY]


@pytest.mark.parametrize("status", [400, 405, 410])
def test_where_there_is_none_the_template_names_no_policy(serve: Serve, status: int) -> None:
    server = Server(without_ilm=status)
    url = serve(server).url
    assert len(_install(url)) == 1
    assert POLICY not in server.kept
    assert "lifecycle.name" not in server.kept[TEMPLATE]["template"]["settings"]
    assert server.kept[TEMPLATE]["template"]["aliases"] == {"p": {}}
    settings = _settings(url)
    assert examine(connect(settings), settings).policy is Policy.UNSUPPORTED


INDICES: list[tuple[str, dict[str, Any], str, str | None]] = [
    ("no alias", {"aliases": {}}, "is not behind the alias", f"/{INDEX}/_alias/p"),
    ("no policy", {"settings": {}}, "is not under the ILM policy", f"/{INDEX}/_settings"),
    (
        "a field less",
        {"mappings": {"properties": {n: f for n, f in MAPPINGS["properties"].items() if n != "label"}}},
        "has no field label",
        f"/{INDEX}/_mapping",
    ),
    (
        "a text for a keyword",
        {"mappings": {"properties": {**MAPPINGS["properties"], "label": {"type": "text"}}}},
        "maps label otherwise, which only a new index can mend",
        None,
    ),
]


@pytest.mark.parametrize(("changes", "told", "mended"), [c[1:] for c in INDICES], ids=[c[0] for c in INDICES])
def test_what_an_old_index_lacks_is_told_and_mended(
    serve: Serve, changes: dict[str, Any], told: str, mended: str | None
) -> None:
    server = Server({INDEX: {**COMPLETE, **changes}})
    url = serve(server).url
    _install(url)
    assert [path for path in server.changed if INDEX in path] == ([] if mended is None else [mended])
    assert _differences(url) == [f"The index {INDEX} {told}."]


def test_the_template_of_a_newer_trimodal_is_left_alone(serve: Serve) -> None:
    server = Server()
    url = serve(server).url
    _install(url)
    server.kept[TEMPLATE]["version"] = VERSION + 1
    server.changed.clear()
    assert _install(url) == ()
    assert server.changed == []
    (told,) = _differences(url)
    assert told.endswith("it is left alone.")


def test_an_index_with_the_aliass_name_is_refused(serve: Serve) -> None:
    server = Server({"p": {"aliases": {}}})
    url = serve(server).url
    with pytest.raises(Fatal, match="an index called p, and an alias of that name belongs there"):
        _install(url)
    assert server.changed == []


def test_a_user_without_the_right_is_told(serve: Serve) -> None:
    url = serve(Server(without_ilm=403)).url
    with pytest.raises(Fatal, match=r"preparing the indices p-\*.* Incorrect HTTP method \(HTTP 403\)"):
        _install(url)


def test_a_server_that_is_gone_is_named() -> None:
    with pytest.raises(SearchFailure, match=r"http://127\.0\.0\.1:1: no answer .* `trimodal stack up`"):
        _install("http://127.0.0.1:1")
