"""Serves metrics and health over HTTP: a few routes on the standard library's server, in threads of its own."""

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import make_wsgi_app

from pipeline.settings import MonitoringSettings
from pipeline.telemetry.health import Health, Report
from pipeline.telemetry.metrics import READY, REGISTRY

PATHS = ("/metrics", "/healthz", "/readyz", "/health/deep")
_IDLE_CONNECTION_S = 30
_JSON = "application/json; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"


class PortTaken(Exception):
    """The address for metrics and health cannot be had."""


def serve(settings: MonitoringSettings, health: Health) -> int | None:
    """Serves this process's metrics and health until it ends, if enabled; returns the port.

    Raises:
        PortTaken: the address cannot be had.
    """
    if not settings.enable_metrics:
        return None
    READY.set_function(lambda: float(health.ready().ok))
    host, port = settings.metrics_host, settings.metrics_port
    try:
        server = make_server(host, port, routes(health), server_class=_Server, handler_class=_Handler)
    except OSError as error:
        raise PortTaken(
            f"Metrics and health cannot be served on {host}:{port} ({error.strerror}): set monitoring.metrics_port "
            "to another, or to 0 for any that is free."
        ) from error
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server.server_port


def routes(health: Health) -> WSGIApplication:
    """Returns the application: /metrics, /healthz, /readyz and /health/deep."""
    metrics: WSGIApplication = make_wsgi_app(REGISTRY)
    reports: Mapping[str, Callable[[], Report]] = {
        "/healthz": health.alive,
        "/readyz": health.ready,
        "/health/deep": health.deep,
    }

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _answer(start_response, HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"Only GET.\n")
        if path == "/metrics":
            return metrics(environ, start_response)
        if path in reports:
            report = reports[path]()
            status = HTTPStatus.OK if report.ok else HTTPStatus.SERVICE_UNAVAILABLE
            return _answer(start_response, status, _JSON, _body(report))
        status = HTTPStatus.OK if path == "/" else HTTPStatus.NOT_FOUND
        return _answer(start_response, status, _TEXT, "".join(f"{path}\n" for path in PATHS).encode())

    return app


def _answer(start_response: StartResponse, status: HTTPStatus, content_type: str, body: bytes) -> Iterable[bytes]:
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
    start_response(f"{status.value} {status.phrase}", headers)
    return (body,)


def _body(report: Report) -> bytes:
    checks = {name: {"ok": finding.ok, "says": finding.says} for name, finding in report.findings.items()}
    return json.dumps({"ok": report.ok, "checks": checks}, indent=2).encode() + b"\n"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = _IDLE_CONNECTION_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (as the standard library calls it)
        """Probes come every few seconds: they are no events."""
