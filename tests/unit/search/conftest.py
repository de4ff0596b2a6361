"""A server that says what Elasticsearch says when ours cannot be made to: too busy, forbidden, with ILM."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Reply = tuple[int, Any]
Script = Callable[[str, str, str], Reply]


@dataclass
class Scripted:
    """A running server: where it is and what was asked of it (method, path, body)."""

    url: str
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def bodies(self, method: str, path: str) -> list[Any]:
        return [json.loads(body) for m, p, body in self.asked if (m, p) == (method, path)]


Serve = Callable[[Script], Scripted]


@contextmanager
def _serving(script: Script) -> Iterator[Scripted]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            path = self.path.split("?", 1)[0]
            scripted.asked.append((self.command, path, body))
            status, reply = script(self.command, path, body)
            content = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("X-Elastic-Product", "Elasticsearch")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = _answer  # noqa: N815  # the names that http.server calls

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scripted = Scripted(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield scripted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that answers as the script says; it ends with the test."""
    running = []

    def start(script: Script) -> Scripted:
        context = _serving(script)
        running.append(context)
        return context.__enter__()

    yield start
    for context in running:
        context.__exit__(None, None, None)
