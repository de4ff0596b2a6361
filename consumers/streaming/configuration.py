"""The Faust app's own settings, from ours."""

import socket
from dataclasses import dataclass
from urllib.parse import quote

import faust
from yarl import URL

from consumers.streaming.assignor import OneAtWork
from consumers.streaming.credentials import credentials
from consumers.streaming.transport import CommittedTransport, Positions
from pipeline.settings import Settings
from pipeline.telemetry.serving import PortTaken

LARGEST_REQUEST_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Names:
    """What the app uses on the broker.

    Args:
        group: consumer group.
        source: topic that is read.
        output: topic that is published to.
        changelog: topic that the state is kept in; it is compacted and has one partition.
    """

    group: str
    source: str
    output: str
    changelog: str


class _AppWithoutFolders(faust.App):
    """An app whose state is in memory: the folders that Faust makes for it would stay empty."""

    def _create_directories(self) -> None:
        pass


def configured(settings: Settings, names: Names, positions: Positions) -> faust.App:
    """Returns an app without streams.

    Args:
        settings: brokers and web view.
        names: what the app uses on the broker.
        positions: partition of the source → the offset that the state goes on from.

    Raises:
        PortTaken: the web view cannot listen where it should.
        Fatal: the credentials are none that Faust knows.
    """
    kafka, statistics = settings.kafka, settings.statistics
    session_s = kafka.session_timeout_ms / 1_000
    brokers = [URL(f"kafka://{server.strip()}") for server in kafka.bootstrap_servers.split(",")]
    app = _AppWithoutFolders(
        names.group,
        broker=brokers,
        autodiscover=False,
        store="memory://",
        processing_guarantee="at_least_once",
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_credentials=credentials(kafka.client_options),
        broker_client_id=f"trimodal-statistics-{kafka.replica}",
        broker_commit_interval=1.0,
        broker_session_timeout=session_s,
        broker_heartbeat_interval=session_s / 10,
        broker_request_timeout=max(2 * session_s, 60.0),
        consumer_group_instance_id=kafka.replica,
        consumer_auto_offset_reset="earliest",
        producer_acks=-1,
        producer_max_request_size=LARGEST_REQUEST_BYTES,
        # A member that restarts is given its assignment back with the address that it had, and Faust insists on that.
        canonical_url=f"http://localhost/{quote(kafka.replica, safe='')}",
        web_bind=statistics.web_host,
        web_host=statistics.web_host,
        web_port=listening_port(statistics.web_host, statistics.web_port),
        PartitionAssignor=OneAtWork,
    )
    app.transport = CommittedTransport(brokers, app, names.source, positions, kafka.start)
    return app


def listening_port(host: str, port: int) -> int:
    """Returns the port, or a free one instead of 0.

    Raises:
        PortTaken: nobody can listen there. Faust would only say so in a traceback.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(
                f"The web view cannot listen on {host}:{port} ({error.strerror}): "
                "set statistics.web_host and statistics.web_port; 0 picks a free port."
            ) from error
        return int(probe.getsockname()[1])
