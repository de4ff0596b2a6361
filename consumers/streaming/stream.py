"""A Faust app that drives a handler: records in; outputs, kept state and positions out, in this order."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing
from typing import Any

import faust
from faust.types import EventT
from faust.web import Request, View

from consumers.commits import ReadCommits
from consumers.streaming.configuration import Names, configured
from consumers.streaming.handler import Handler
from consumers.streaming.transport import CommittedConsumer
from pipeline.kafka.contract import Message
from pipeline.kafka.errors import Fatal, KafkaFailure
from pipeline.settings import Settings
from pipeline.telemetry import logs, metrics
from pipeline.telemetry.health import Health
from pipeline.telemetry.logs import logger
from pipeline.telemetry.watchdog import Watchdog

VIEW_PATH = "/statistics"
TICK_S = 0.1
SAMPLE_S = 1.0
STOP_S = 30.0
LEAST_PATIENCE_S = 60.0
MOST_ASSIGNMENTS = 8
RAW: faust.Schema[bytes, bytes] = faust.Schema(
    key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
)
_log = logger(__name__)


def run(settings: Settings, names: Names, handler: Handler, health: Health, stop: threading.Event) -> None:
    """Works, or stands by, until told to stop.

    Raises:
        Fatal: a step cannot be made durable, or this process was suspended for so long that others may be at work.
    """
    logs.forward("faust", "mode", "aiokafka", "aiohttp")

    async def work() -> None:
        app = configured(settings, names, handler.positions)
        await Stream(app, settings, names, handler, health).run(stop)

    asyncio.run(work())


class Stream:
    """One member of the group.

    Faust restores the state from the changelog and then delivers records from the committed offsets on. What comes of
    them becomes durable in steps, `statistics.publish_ms` apart:

    1. outputs are published,
    2. the state is kept, which says up to which offsets it has taken records,
    3. the records are acknowledged, so that Faust commits their offsets.

    A crash in between makes records come again. The state tells the handler which of them to pass over; the others give
    the same outputs under the same keys once more. A step that fails ends the app.
    """

    def __init__(self, app: faust.App, settings: Settings, names: Names, handler: Handler, health: Health) -> None:
        self._app = app
        self._names = names
        self._handler = handler
        self._health = health
        self._interval_s = settings.statistics.publish_ms / 1_000
        self._session_s = settings.kafka.session_timeout_ms / 1_000
        self._patience_s = max(2 * self._session_s, LEAST_PATIENCE_S)
        self._commits = ReadCommits(health, "Kafka or Faust")
        self._received: list[EventT[Any]] = []
        self._at_work = False
        self._failure: Exception | None = None
        self._awake_s = self._unassigned_s = time.monotonic()
        self._is_assigned = False
        self._assigned_s: deque[float] = deque(maxlen=MOST_ASSIGNMENTS)
        self._outputs = app.topic(names.output, schema=RAW)
        self._table = app.Table(
            "state",
            partitions=1,
            key_type=bytes,
            value_type=bytes,
            changelog_topic=app.topic(names.changelog, partitions=1, schema=RAW),
            on_recover=self._restore,
        )
        app.agent(app.topic(names.source, schema=RAW))(self._receive)
        app.on_partitions_revoked.connect(self._revoke, weak=False)
        app.page(VIEW_PATH)(self._viewing())

    async def run(self, stop: threading.Event) -> None:
        """See the module's `run`."""
        try:
            await self._run(stop)
        except KafkaFailure:
            raise
        except Exception as error:  # Faust lets through whatever its clients raise
            raise Fatal(f"Faust gave up ({error!r}): look at the brokers, then start this again.") from error

    async def _run(self, stop: threading.Event) -> None:
        app = self._app
        awake = asyncio.ensure_future(self._stay_awake(stop))
        sampling = asyncio.ensure_future(self._keep_sampling())
        starting = asyncio.ensure_future(app.start())
        try:
            await asyncio.wait({awake, starting}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                _log.info("web view", address=f"http://{app.conf.web_host}:{app.conf.web_port}{VIEW_PATH}")
                await self._work(awake)
        finally:
            for task in (starting, awake, sampling):
                task.cancel()
            if self._failure is not None:
                _log.warning("stopping", problem=str(self._failure))
            with closing(Watchdog(STOP_S)) as watchdog, watchdog.watching("stopping Faust"):
                await app.stop()
        if (failure := self._failure or app.crash_reason) is not None:
            raise failure

    async def _stay_awake(self, stop: threading.Event) -> None:
        """Returns when it is time to end, and notices when this process did not run for a while."""
        while not (stop.is_set() or self._app.should_stop or self._failure):
            await asyncio.sleep(TICK_S)
            self._check_awake()
            self._check_assigned()
            self._awake_s = time.monotonic()
            self._health.beat()

    async def _keep_sampling(self) -> None:
        """Shows how much is still to be read, and whether steps go through."""
        while True:
            await asyncio.sleep(SAMPLE_S)
            self._commits.look()
            consumer = self._app.consumer
            if self._at_work and isinstance(consumer, CommittedConsumer):
                backlog = consumer.backlog()
                metrics.CONSUMER_LAG.replace({(tp.topic, str(tp.partition)): n for tp, n in backlog.items()})
                self._health.note("lag", f"{sum(backlog.values()):,} records are still to be read.")

    def _check_awake(self) -> None:
        away_s = time.monotonic() - self._awake_s
        if away_s > self._session_s / 2:
            self._failure = Fatal(
                f"This process was suspended for {away_s:.0f} s, and another member of the group {self._names.group} "
                "may be at work: start it again."
            )

    def _check_assigned(self) -> None:
        """Notices that the client has given up on the group: it says so in the log only, and does nothing any more."""
        waited_s = time.monotonic() - self._unassigned_s
        if not self._is_assigned and waited_s > self._patience_s:
            self._failure = Fatal(
                f"The group {self._names.group} has handed out nothing for {waited_s:.0f} s: look for errors of "
                "aiokafka in the log and at the brokers, then start this again."
            )

    def _note_assigned(self, says: str) -> None:
        """Takes note of an assignment; when one follows the other, somebody takes it away each time."""
        now_s = time.monotonic()
        self._is_assigned = True
        self._assigned_s.append(now_s)
        self._health.note("assignment", says)
        if len(self._assigned_s) == MOST_ASSIGNMENTS and now_s - self._assigned_s[0] < self._patience_s:
            raise Fatal(
                f"The group {self._names.group} has handed out its partitions {MOST_ASSIGNMENTS} times in "
                f"{now_s - self._assigned_s[0]:.0f} s: another process may run with this name; "
                "give each its own --replica."
            )

    async def _work(self, awake: asyncio.Future[None]) -> None:
        while not awake.done():
            await asyncio.wait({awake}, timeout=self._interval_s)
            if not (self._app.should_stop or self._failure):
                await self._step()

    async def _restore(self) -> None:
        try:
            partitions = {tp.partition for tp in self._app.consumer.assignment() if tp.topic == self._names.source}
            if not partitions:
                self._note_assigned("Another member of the group is at work, and this one stands by.")
                _log.info("standing by: another member of the group is at work", group=self._names.group)
                return
            state = {name.decode(): content for name, content in self._table.items() if content is not None}
            self._handler.restored(state, partitions)
            await self._app.consumer.perform_seek()  # Faust does so only after it has let records through
            self._at_work = True
            self._note_assigned(f"{len(partitions)} partitions are held.")
            _log.info("at work", partitions=len(partitions), entries_restored=len(state))
        except Exception as error:  # Faust would only log it
            self._failure = error

    async def _revoke(self, *_: Any, **__: Any) -> None:
        self._at_work = self._is_assigned = False
        self._unassigned_s = time.monotonic()
        self._received.clear()
        self._commits.taken_away()
        metrics.CONSUMER_LAG.replace({})
        self._health.note("assignment", "The group is handing out the partitions anew.", ok=False)

    async def _receive(self, stream: Any) -> None:
        async for event in stream.noack().events():
            if not self._at_work:
                continue  # it comes again after the seek
            try:
                self._handler.received(_message(event))
            except Exception as error:  # Faust would go on with the next record
                self._failure = error
                raise
            self._received.append(event)
            self._commits.read()

    async def _step(self) -> None:
        if not self._at_work:
            return
        received, self._received = self._received, []
        step = self._handler.step()
        await self._sent(self._outputs.send_soon(key=output.key, value=output.value) for output in step.outputs)
        for entries in step.state:
            await self._sent(self._keep(name.encode(), content) for name, content in entries.items())
        await self._sent(self._keep(name.encode(), None) for name in step.forgotten)
        for event in received:
            event.ack()
        if received:
            self._commits.committed(with_rest=bool(self._received))

    def _keep(self, name: bytes, content: bytes | None) -> Any:
        if content is None:
            self._table.data.pop(name, None)
        else:
            self._table.data[name] = content
        return self._table.send_changelog(0, name, content, key_serializer="raw", value_serializer="raw")

    async def _sent(self, pending: Iterable[Any]) -> None:
        """Waits until all of these are acknowledged by the broker; none is sent by a process that was suspended."""
        self._check_awake()
        if self._failure is not None:
            raise self._failure
        await asyncio.gather(*pending)

    def _viewing(self) -> Callable[[View, Request], Awaitable[Any]]:
        async def view(web: View, request: Request) -> Any:
            if not self._at_work:
                return web.json({"error": "This member of the group stands by: ask the one at work."}, status=503)
            try:
                return web.json(self._handler.view(dict(request.query)))
            except ValueError as error:
                return web.json({"error": str(error)}, status=400)

        return view


def _message(event: EventT[Any]) -> Message:
    record = event.message
    timestamp_ms = round((record.timestamp or 0) * 1_000)
    return Message(record.topic, record.partition, record.offset, timestamp_ms, record.key, record.value)
