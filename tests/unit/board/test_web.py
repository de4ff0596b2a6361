"""The HTTP side, asked as browsers ask it."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from consumers.board.errors import CannotServe
from consumers.board.guard import LOOPBACK, host_name
from consumers.board.hub import Hub
from consumers.board.program import _names, listening
from consumers.board.web import STATIC, web_app
from pipeline.search.documents import Hit
from pipeline.search.errors import BadQuery, Retriable
from pipeline.search.queries import Found
from pipeline.settings import BoardSettings
from tests.support.predictions import a_prediction

ASKED: list[tuple[str, int]] = []


def search(query: str, size: int) -> Found:
    ASKED.append((query, size))
    match query:
        case "wrong(":
            raise BadQuery("Cannot parse.")
        case "down":
            raise Retriable("No answer: check elasticsearch.url, or run `trimodal stack up`.")
    return Found(1, (Hit(a_prediction(1, confidence=float("nan"))),))


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(web_app(Hub(1), search, LOOPBACK), base_url="http://localhost:8765") as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/events-not-there", *(f"/static/{file.name}" for file in STATIC.iterdir())])
def test_every_answer_forbids_what_is_not_ours(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_the_page_asks_nobody_else_for_anything() -> None:
    for file in STATIC.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, file.name
        assert "innerHTML" not in text, file.name


SEARCHES: list[tuple[dict[str, Any], int, str]] = [
    ({"q": "label:3"}, 200, '"key":"digit-1"'),
    ({"q": "wrong("}, 400, "Cannot parse."),
    ({"q": "down"}, 503, "elasticsearch.url"),
    ({"size": 100_000}, 422, "200"),
    ({"q": "x" * 5_000}, 422, "2000"),
]


@pytest.mark.parametrize(("parameters", "status", "says"), SEARCHES, ids=["found", "bad", "down", "many", "long"])
def test_searches(client: TestClient, parameters: dict[str, Any], status: int, says: str) -> None:
    answer = client.get("/search", params=parameters)
    assert (answer.status_code, says in answer.text) == (status, True)


def test_an_empty_query_asks_for_everything(client: TestClient) -> None:
    assert client.get("/search", params={"q": "  "}).json()["predictions"][0]["confidence"] is None
    assert ASKED[-1] == ("*", 50)


def test_a_foreign_name_is_refused(client: TestClient) -> None:
    answer = client.get("/", headers={"host": "rebound.example:8765"})
    assert answer.status_code == 421
    assert "board.names" in answer.text


def test_too_many_viewers_are_told_so() -> None:
    with TestClient(web_app(Hub(0), search, None)) as client:
        answer = client.get("/events", headers={"host": "anything"})
    assert answer.status_code == 503
    assert "board.max_viewers" in answer.json()["problem"]


@pytest.mark.parametrize(
    ("host", "name"),
    [("localhost:80", "localhost"), ("LOCALHOST", "localhost"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("", "")],
)
def test_names_are_told_from_ports(host: str, name: str) -> None:
    assert host_name(host) == name


def test_only_a_board_that_is_closed_to_others_minds_names() -> None:
    assert _names(BoardSettings(names=("Board.example",))) == LOOPBACK | {"board.example"}
    assert _names(BoardSettings(host="localhost")) == LOOPBACK
    assert _names(BoardSettings(host="0.0.0.0")) is None
    assert _names(BoardSettings(host="board.example")) is None


def test_a_taken_port_is_named_with_the_next_step() -> None:
    with listening(BoardSettings(port=0)) as first:
        taken = BoardSettings(port=first.getsockname()[1])
        with pytest.raises(CannotServe, match=rf"board\.port {taken.port} .*choose another with --port"):
            listening(taken)
