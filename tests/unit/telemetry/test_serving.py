"""Metrics and health over real HTTP."""

import http.client
import json
from collections.abc import Iterator

import pytest

from pipeline.settings import MonitoringSettings
from pipeline.telemetry.health import Health
from pipeline.telemetry.serving import PortTaken, serve


@pytest.fixture(scope="module")
def health() -> Health:
    return Health(needs=("model",))


@pytest.fixture(scope="module")
def connection(health: Health) -> Iterator[http.client.HTTPConnection]:
    port = serve(MonitoringSettings(), health)
    assert port is not None
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    yield connection
    connection.close()


def ask(connection: http.client.HTTPConnection, path: str, method: str = "GET") -> tuple[int, str]:
    connection.request(method, path)
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_metrics(connection: http.client.HTTPConnection) -> None:
    status, text = ask(connection, "/metrics")
    assert status == 200
    assert "# TYPE trimodal_records_total counter" in text
    assert "process_resident_memory_bytes" in text


def test_health_is_json_with_a_sentence_each(connection: http.client.HTTPConnection, health: Health) -> None:
    health.note("model", "It is being loaded.", ok=False)
    status, text = ask(connection, "/readyz")
    assert status == 503
    answer = json.loads(text)
    assert answer["ok"] is False
    assert answer["checks"]["model"] == {"ok": False, "says": "It is being loaded."}
    assert ask(connection, "/health/deep")[0] == 503
    assert ask(connection, "/healthz")[0] == 200
    assert "trimodal_ready 0.0" in ask(connection, "/metrics")[1]
    health.note("model", "It is warm.")
    for path in ("/readyz", "/health/deep"):
        assert ask(connection, path)[0] == 200
    assert "trimodal_ready 1.0" in ask(connection, "/metrics")[1]


def test_other_paths_and_methods(connection: http.client.HTTPConnection) -> None:
    assert ask(connection, "/") == (200, "/metrics\n/healthz\n/readyz\n/health/deep\n")
    assert ask(connection, "/nothing")[0] == 404
    assert ask(connection, "/healthz?verbose")[0] == 200
    assert ask(connection, "/healthz", "HEAD") == (200, "")
    assert ask(connection, "/healthz", "POST")[0] == 405


def test_a_taken_port_is_named(connection: http.client.HTTPConnection) -> None:
    with pytest.raises(PortTaken, match=rf"127\.0\.0\.1:{connection.port} .*monitoring\.metrics_port"):
        serve(MonitoringSettings(metrics_port=connection.port), Health())


def test_nothing_is_served_when_switched_off() -> None:
    assert serve(MonitoringSettings(enable_metrics=False), Health()) is None
