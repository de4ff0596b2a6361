"""The librdkafka properties that all clients share."""

from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError

from pipeline.kafka.errors import explain
from pipeline.settings import KafkaSettings
from pipeline.telemetry.logs import logger

Properties = dict[str, Any]

_log = logger(__name__)


def common(settings: KafkaSettings, role: str) -> Properties:
    """Returns what every client needs; `role` is its part in the program, for the broker's logs."""
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": f"trimodal-{role}-{settings.replica}",
        "error_cb": _reporter(),
        "log.connection.close": False,
        "reconnect.backoff.max.ms": 2_000,
        "log_level": 0,
        **settings.client_options,
    }


def _reporter() -> Callable[[KafkaError], None]:
    """Returns a callback that logs what the client goes on trying, once for each new problem.

    What the client gives up is raised where it was asked for.
    """
    last: list[int] = []

    def report(error: KafkaError) -> None:
        if [error.code()] != last:
            last[:] = [error.code()]
            _log.warning("kafka client", problem=explain(error))

    return report
