"""A Schema Registry in this process: as much of Confluent's REST interface as registering and reading takes."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar


@dataclass
class Registry:
    """What it holds, for a test to look at and change."""

    url: str = ""
    schemas: list[str] = field(default_factory=list)
    subjects: dict[str, list[int]] = field(default_factory=dict)
    refusal: tuple[int, int, str] | None = None
    requests: int = 0

    def register(self, subject: str, schema: str) -> int:
        if schema not in self.schemas:
            self.schemas.append(schema)
        schema_id = self.schemas.index(schema) + 1
        self.subjects.setdefault(subject, []).append(schema_id)
        return schema_id


class Handler(BaseHTTPRequestHandler):
    registry: ClassVar[Registry]

    def do_GET(self) -> None:
        schema_id = int(self.path.split("?")[0].rsplit("/", 1)[-1])
        if self._refused():
            return
        if not 1 <= schema_id <= len(self.registry.schemas):
            self._answer(404, {"error_code": 40403, "message": "Schema not found"})
            return
        self._answer(200, {"schema": self.registry.schemas[schema_id - 1]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._refused():
            return
        subject = self.path.split("/")[2]
        self._answer(200, {"id": self.registry.register(subject, body["schema"])})

    def _refused(self) -> bool:
        self.registry.requests += 1
        if self.registry.refusal is None:
            return False
        status, code, message = self.registry.refusal
        self._answer(status, {"error_code": code, "message": message})
        return True

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the parent's name
        """Keeps quiet."""


@contextmanager
def running() -> Iterator[Registry]:
    registry = Registry()
    handler = type("BoundHandler", (Handler,), {"registry": registry})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        registry.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()
