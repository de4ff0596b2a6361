"""What all clients share: librdkafka's properties, and the question for the cluster's topics and brokers."""

import logging
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined]  # it re-exports silently

from pipeline.kafka.errors import explain, translated
from pipeline.settings import KafkaSettings
from pipeline.telemetry.logs import logger

Properties = dict[str, Any]

LIBRDKAFKA = "librdkafka"
QUIET_S = 10.0
CONNECT_TIMEOUT_S = 5.0
_SYSLOG_WARNING = 4
_TOLD_BY_CALLBACK = {"FAIL", "ERROR"}
_log = logger(__name__)


class _NotOverAndOver(logging.Filter):
    """Lets one line of a kind through every `QUIET_S`, and none of what the error callback tells anyway."""

    def __init__(self) -> None:
        super().__init__()
        self._told_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether this line is news; librdkafka's arguments are the kind, the client and what it says."""
        kind = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
        if kind in _TOLD_BY_CALLBACK or record.created - self._told_s.get(kind, float("-inf")) < QUIET_S:
            return False
        self._told_s[kind] = record.created
        return True


logging.getLogger(LIBRDKAFKA).addFilter(_NotOverAndOver())
_OWN_LOG: Properties = {"logger": logging.getLogger(LIBRDKAFKA), "log_level": _SYSLOG_WARNING}


def common(settings: KafkaSettings, role: str, *, with_log: bool = False) -> Properties:
    """Returns what every client needs.

    Args:
        settings: brokers, name of the replica, and further properties, which win.
        role: the client's part in the program, for the broker's logs.
        with_log: whether its own warnings become lines of our log; only for clients that are polled all the time.
    """
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": f"trimodal-{role}-{settings.replica}",
        "error_cb": _reporter(),
        "log.connection.close": False,
        "reconnect.backoff.max.ms": 2_000,
        **(_OWN_LOG if with_log else {"log_level": 0}),
        **settings.client_options,
    }


def cluster(client: AdminClient, kafka: KafkaSettings, what: str) -> ClusterMetadata:
    """Asks any one of the brokers for the topics and brokers that it knows.

    Args:
        client: asks.
        kafka: the brokers.
        what: is asked for, for a sentence.

    Raises:
        KafkaFailure: no broker answers, within seconds.
    """
    try:
        return client.list_topics(timeout=min(CONNECT_TIMEOUT_S, kafka.call_timeout_ms / 1_000))
    except KafkaException as error:
        raise translated(error, f"asking {kafka.bootstrap_servers} for its {what}") from error


def _reporter() -> Callable[[KafkaError], None]:
    """Returns a callback that logs what the client goes on trying, once until it has been well for `QUIET_S`.

    What the client gives up is raised where it was asked for.
    """
    last_s: dict[int, float] = {}

    def report(error: KafkaError) -> None:
        now_s = time.monotonic()
        is_news = now_s - last_s.get(error.code(), float("-inf")) > QUIET_S
        last_s[error.code()] = now_s
        if is_news:
            _log.warning("kafka client", problem=explain(error))

    return report
