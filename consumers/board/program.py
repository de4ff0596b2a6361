"""The board put together and served: a thread that reads, one that watches the lanes, one for the browsers."""

import logging
import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address

import uvicorn

from consumers.board.errors import CannotServe
from consumers.board.feed import Feed, Outlet
from consumers.board.guard import LOOPBACK
from consumers.board.hub import Hub
from consumers.board.lanes import LaneQueries
from consumers.board.watch import Watch
from consumers.board.web import web_app
from pipeline.kafka.admin import TopicAdmin
from pipeline.search.client import connect
from pipeline.search.queries import PredictionSearch
from pipeline.search.reachability import ElasticsearchProbe
from pipeline.settings import BoardSettings, Settings
from pipeline.telemetry.health import Health
from pipeline.telemetry.logs import logger

QUICK_CALL_MS = 3_000
"""A page that stands still for longer than this should say so."""
SEARCH_TIMEOUT_MS = 10_000
BACKLOG = 128
LAST_WORDS_S = 2
THREAD_END_S = 3.0
_log = logger(__name__)


class Board:
    """The live page's program.

    Args:
        settings: brokers, topics, group, Elasticsearch, and where to serve.
        health: is told how it goes.

    Raises:
        CannotServe: board.host and board.port cannot be listened on.
        KafkaFailure: no broker answers, or topics are missing.
        SearchFailure: elasticsearch.url is not an address. Whether it answers is asked with each search.
    """

    def __init__(self, settings: Settings, health: Health) -> None:
        quick = _quick(settings)
        self._health = health
        self._socket = listening(settings.board)
        admin = TopicAdmin(quick.kafka, quick.topics)
        admin.check([*quick.topics.sources, quick.topics.predictions, quick.topics.dead_letters])
        self._hub = Hub(settings.board.max_viewers)
        self._feed = Feed(quick, Outlet(self._hub.say, self._hub.show), health)
        lanes = LaneQueries(quick, admin.offset_metadata_bytes() - 1)
        self._watch = Watch(lanes.look, self._hub.say)
        elasticsearch = connect(quick.elasticsearch)
        health.probe("elasticsearch", ElasticsearchProbe(elasticsearch, quick.elasticsearch.url))
        predictions = PredictionSearch(elasticsearch, quick.elasticsearch)
        app = web_app(self._hub, predictions.search, _names(settings.board))
        # Nothing is logged of requests: `board` lines of our own say what is notable.
        self._server = uvicorn.Server(
            uvicorn.Config(
                app, log_config=None, log_level="warning", access_log=False, server_header=False, lifespan="on",
                timeout_graceful_shutdown=LAST_WORDS_S,
            )
        )  # fmt: skip
        self._failure: BaseException | None = None

    @property
    def address(self) -> str:
        """Where the page is, for people."""
        host, port = self._socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def run(self, stop: threading.Event) -> None:
        """Serves until `stop` is set, then ends within seconds, whatever browsers do."""
        served = self._thread("board-web", lambda: self._server.run(sockets=[self._socket]), stop)
        while not self._server.started and served.is_alive():
            stop.wait(0.01)
        _log.info("board", address=self.address)
        self._health.note("page", f"The page is served at {self.address}.")
        reading = self._thread("board-feed", lambda: self._feed.run(stop), stop)
        watching = self._thread("board-lanes", lambda: self._watch.run(stop), stop)
        stop.wait()
        self._hub.close()
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # those who do not read are cut off: no news
        self._server.should_exit = True
        for thread in (served, reading, watching):
            thread.join(THREAD_END_S)
        if self._failure is not None:
            raise self._failure

    def _thread(self, name: str, work: Callable[[], None], stop: threading.Event) -> threading.Thread:
        """Starts a thread whose end is the program's end, and whose failure is its failure."""

        def run() -> None:
            try:
                work()
            except BaseException as error:
                self._failure = error
            finally:
                stop.set()

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread


def listening(board: BoardSettings) -> socket.socket:
    """Returns a socket that listens where the settings say.

    Raises:
        CannotServe: it cannot be.
    """
    family = socket.AF_INET6 if ":" in board.host else socket.AF_INET
    try:
        return socket.create_server((board.host, board.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise CannotServe(
            f"The board cannot be served at board.host {board.host}, board.port {board.port} "
            f"({error.strerror or error}): choose another with --port or --host, or end what listens there."
        ) from error


def _names(board: BoardSettings) -> frozenset[str] | None:
    """Returns the host names to answer; any, if the board is open to other machines anyway."""
    try:
        local = ip_address(board.host).is_loopback
    except ValueError:
        local = board.host == "localhost"
    return LOOPBACK | {board.host, *(name.lower() for name in board.names)} if local else None


def _quick(settings: Settings) -> Settings:
    """Returns the settings with timeouts for something that people look at."""
    kafka = settings.kafka.model_copy(update={"call_timeout_ms": min(settings.kafka.call_timeout_ms, QUICK_CALL_MS)})
    elasticsearch = settings.elasticsearch.model_copy(
        update={"request_timeout_ms": min(settings.elasticsearch.request_timeout_ms, SEARCH_TIMEOUT_MS)}
    )
    return settings.model_copy(update={"kafka": kafka, "elasticsearch": elasticsearch})
