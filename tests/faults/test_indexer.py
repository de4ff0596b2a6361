"""The indexer while Elasticsearch is down, overloaded or picky, and killed between bulk and commit."""

import http.client
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from pipeline.events.records import Reason
from tests.faults.cluster import Cluster
from tests.faults.scenario import Result, alive_for
from tests.support.indexing import PATIENCE_S, Workplace, await_documents, ids, running, started
from tests.support.predictions import a_prediction

COUNT = 2_000


@pytest.fixture
def workplace(cluster: Cluster) -> Workplace:
    cluster.up()
    return Workplace.made(cluster.addresses)


def publish(place: Workplace, numbers: range) -> None:
    place.publish(a_prediction(number) for number in numbers)


def check(place: Workplace, result: Result, expected: list[str]) -> None:
    """Compares what is indexed with what was published, and writes the line of results."""
    found = ids(place.indexed())
    result.records = len(expected)
    result.lost = len(set(expected) - set(found))
    result.doubled = len(found) - len(set(found))
    result.write()
    assert found == expected


@pytest.mark.slow_faults
def test_elasticsearch_down_for_a_minute(workplace: Workplace, cluster: Cluster) -> None:
    result = Result("elasticsearch down for a minute")
    publish(workplace, range(COUNT // 2))
    with running(workplace) as process:
        await_documents(workplace, 100)
        cluster.kill("elasticsearch")
        result.note("kill -9 of elasticsearch")
        publish(workplace, range(COUNT // 2, COUNT))
        alive_for(process, 60)
        cluster.stack.restart("elasticsearch")
        up_s = time.monotonic()
        result.note("restart of elasticsearch")
        await_documents(workplace, COUNT)
        result.recovery_s = round(time.monotonic() - up_s, 1)
    check(workplace, result, sorted(f"id-{number}" for number in range(COUNT)))


@pytest.mark.slow_faults
def test_indexer_killed_between_bulk_and_commit(workplace: Workplace) -> None:
    result = Result("indexer killed between bulk and commit")
    publish(workplace, range(500))
    killed = started(workplace, TEST_KILL="before-commit")
    killed.communicate(timeout=PATIENCE_S)
    assert killed.returncode == -signal.SIGKILL
    killed_s = time.monotonic()
    already = len(workplace.indexed())
    result.note(f"kill -9 of the indexer, {already} documents indexed and nothing committed")
    assert 0 < already < 500
    with running(workplace):
        await_documents(workplace, 500)
        result.recovery_s = round(time.monotonic() - killed_s, 1)
    check(workplace, result, sorted(f"id-{number}" for number in range(500)))


class Overloaded(ThreadingHTTPServer):
    """Stands before Elasticsearch and answers so many bulk requests with 429."""

    def __init__(self, url: str, refusals: int) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.upstream = urlsplit(url).netloc
        self.refusals = refusals


class _Forward(BaseHTTPRequestHandler):
    server: Overloaded
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if "_bulk" in self.path and self.server.refusals > 0:
            self.server.refusals -= 1
            self._send(429, {"content-type": "application/json"}, b'{"error": {"type": "rejected"}, "status": 429}')
            return
        connection = http.client.HTTPConnection(self.server.upstream, timeout=30)
        kept = {name: value for name, value in self.headers.items() if name.lower() not in {"host", "connection"}}
        connection.request(self.command, self.path, body, kept)
        response = connection.getresponse()
        content = response.read()
        headers = {n: v for n, v in response.getheaders() if n.lower() not in {"content-length", "transfer-encoding"}}
        self._send(response.status, headers, content)
        connection.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815  (http.server's names)

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


def test_elasticsearch_answers_429(workplace: Workplace) -> None:
    result = Result("elasticsearch answers 429")
    overloaded = Overloaded(workplace.settings.elasticsearch.url, refusals=5)
    serving = threading.Thread(target=overloaded.serve_forever)
    serving.start()
    try:
        publish(workplace, range(500))
        host, port = overloaded.server_address[:2]
        result.note("429 to the first five bulk requests")
        with running(workplace, TRIMODAL_ELASTICSEARCH__URL=f"http://{host!s}:{port}"):
            started_s = time.monotonic()
            await_documents(workplace, 500)
            result.recovery_s = round(time.monotonic() - started_s, 1)
    finally:
        overloaded.shutdown()
        serving.join()
        overloaded.server_close()
    assert overloaded.refusals == 0
    check(workplace, result, sorted(f"id-{number}" for number in range(500)))


def test_one_document_in_a_hundred_is_rejected(workplace: Workplace) -> None:
    result = Result("one document in a hundred is rejected")
    result.note("a label is longer than a keyword may be in one of a hundred")
    workplace.publish(
        a_prediction(number, **({"label": "y" * 40_000} if number % 100 == 0 else {})) for number in range(1_000)
    )
    with running(workplace):
        letters = workplace.letters(10)
        await_documents(workplace, 990)
    assert {letter.reason for letter in letters} == {Reason.REJECTED}
    assert {letter.key for letter in letters} == {f"k{number}".encode() for number in range(0, 1_000, 100)}
    check(workplace, result, sorted(f"id-{number}" for number in range(1_000) if number % 100))
