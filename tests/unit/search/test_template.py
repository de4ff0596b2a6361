from typing import Any

import pytest

import schemas
from pipeline.search.client import connect
from pipeline.search.errors import Fatal, SearchFailure
from pipeline.search.template import MAPPINGS, index_template, install
from pipeline.settings import ElasticsearchSettings
from schemas import Name
from tests.unit.search.conftest import Reply, Script, Serve

POLICY = "/_ilm/policy/trimodal-p"
NOT_FOUND = {"error": {"type": "resource_not_found_exception", "reason": "not found"}, "status": 404}
METHOD = {"error": "Incorrect HTTP method", "status": 405}


def _server(ilm: Reply, aliases: Reply = (404, NOT_FOUND)) -> Script:
    def script(method: str, path: str, _body: str) -> Reply:
        match method, path:
            case "GET", "/p/_alias":
                return aliases
            case "GET", _ if path == POLICY:
                return ilm
        return 200, {"acknowledged": True}

    return script


def _install(url: str) -> None:
    settings = ElasticsearchSettings(url=url, alias="p", retention_days=9)
    install(connect(settings), settings)


def _field_names(schema: Any) -> set[str]:
    return {field["name"] for field in schema["fields"]}


def test_every_field_of_a_prediction_is_mapped_and_no_other() -> None:
    prediction = schemas.load(Name.PREDICTION)
    assert MAPPINGS["dynamic"] == "strict"
    assert MAPPINGS["properties"].keys() == _field_names(prediction)
    sources = next(field for field in prediction["fields"] if field["name"] == "sources")
    assert MAPPINGS["properties"]["sources"]["dynamic"] == "strict"
    assert MAPPINGS["properties"]["sources"]["properties"].keys() == _field_names(sources["type"]["items"])


def test_the_longer_of_two_aliases_wins() -> None:
    broad, narrow = index_template("predictions", None), index_template("predictions-eu", None)
    assert broad["index_patterns"] == ["predictions-*.*.*"]
    assert narrow["priority"] > broad["priority"]


@pytest.mark.parametrize("there", [(404, NOT_FOUND), (200, {"trimodal-p": {}})], ids=["new", "there"])
def test_where_there_is_ilm_indices_are_deleted_at_their_age(serve: Serve, there: Reply) -> None:
    server = serve(_server(ilm=there))
    _install(server.url)
    (policy,) = server.bodies("PUT", POLICY)
    (template,) = server.bodies("PUT", "/_index_template/p")
    assert policy["policy"]["phases"] == {"delete": {"min_age": "9d", "actions": {"delete": {}}}}
    assert template["template"]["settings"]["lifecycle.name"] == "trimodal-p"


@pytest.mark.parametrize("status", [400, 405, 410])
def test_where_there_is_none_the_template_names_no_policy(serve: Serve, status: int) -> None:
    server = serve(_server(ilm=(status, METHOD | {"status": status})))
    _install(server.url)
    (template,) = server.bodies("PUT", "/_index_template/p")
    assert server.bodies("PUT", POLICY) == []
    assert "lifecycle.name" not in template["template"]["settings"]
    assert template["template"]["aliases"] == {"p": {}}


def test_a_user_without_the_right_is_told(serve: Serve) -> None:
    server = serve(_server(ilm=(403, {"error": {"reason": "action is unauthorized"}, "status": 403})))
    with pytest.raises(Fatal, match=r"preparing the indices p-\*.* action is unauthorized \(HTTP 403\)"):
        _install(server.url)


def test_an_index_with_the_aliass_name_is_refused(serve: Serve) -> None:
    server = serve(_server(ilm=(405, METHOD), aliases=(200, {"p": {"aliases": {}}})))
    with pytest.raises(Fatal, match="an index called p, and an alias of that name belongs there"):
        _install(server.url)
    assert server.bodies("PUT", "/_index_template/p") == []


def test_indices_behind_the_alias_are_fine(serve: Serve) -> None:
    server = serve(_server(ilm=(405, METHOD), aliases=(200, {"p-2026.01.01": {"aliases": {"p": {}}}})))
    _install(server.url)
    assert len(server.bodies("PUT", "/_index_template/p")) == 1


def test_a_server_that_is_gone_is_named() -> None:
    with pytest.raises(SearchFailure, match=r"http://127\.0\.0\.1:1: no answer .* `trimodal stack up`"):
        _install("http://127.0.0.1:1")
