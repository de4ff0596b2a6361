"""One run of the demo: publish, watch what comes out, wait for the last record, audit."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.live import Live

from pipeline.cli.audit import show
from pipeline.cli.demo import view
from pipeline.cli.demo.programs import ProgramFailed, Programs
from pipeline.cli.demo.tally import Tally
from pipeline.kafka.auditing import run_audit
from pipeline.kafka.contract import Output
from pipeline.kafka.errors import Retriable
from pipeline.kafka.groups import assigned
from pipeline.kafka.offsets import OffsetQueries
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.registry import codec
from pipeline.search.client import connect
from pipeline.search.queries import PredictionSearch
from pipeline.settings import Settings
from pipeline.telemetry.clock import wall_ms
from producers.digits import Plan, Replay, label_of, moments, send
from producers.publisher import Publisher

START_S = 120.0
SETTLE_S = 90.0
FRAME_S = 0.25
ASK_AGAIN_MS = 5_000
RATE_OVER_S = 3.0


class _Stopped(Exception):
    """The demo was interrupted while it was publishing."""


class DemoRun:
    """Plays held-out digits through running programs and shows what becomes of them.

    Args:
        settings: of the stack.
        programs: what runs; its end is the run's.
        console: where the figures go.
        picture: takes a picture of what there is to see when all is through; returns a sentence to print.
    """

    def __init__(self, settings: Settings, programs: Programs, console: Console, picture: Callable[[], str]) -> None:
        self._settings = settings
        self._impatient = settings.kafka.model_copy(update={"call_timeout_ms": ASK_AGAIN_MS})
        self._programs = programs
        self._console = console
        self._picture = picture
        self._codec = codec(settings.kafka, settings.topics)
        self._queries = OffsetQueries(settings.kafka, "demo")
        self._tally = Tally()
        self._published = 0
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._started_s = 0.0

    def play(self, count: int, rate: float, seed: int, faults: Mapping[str, Any]) -> None:
        """Publishes `count` triples at `rate` a second with these faults, and shows the figures.

        Raises:
            ProgramFailed: a program ended, or the records were not accounted for in time.
            KafkaFailure, SearchFailure: a server does not answer.
        """
        replay = Replay(run=f"{wall_ms() // 1_000:x}", count=count, rate=rate, seed=seed, **faults)
        with TopicReader(self._settings.kafka, "demo") as reader:
            self._take_bearings(reader)
            publisher = threading.Thread(target=self._publish, args=(replay,), name="publisher")
            publisher.start()
            try:
                self._watch(reader, publisher, records=round(count * 3 * (1 - faults["missing"])))
            finally:
                self._stop.set()
                publisher.join()
        self._report(replay.run)

    def await_group(self, replicas: int) -> None:
        """Waits until every replica has loaded its model and has its share of the lanes.

        Raises:
            ProgramFailed: a program ended, or it took too long.
        """
        deadline = time.monotonic() + START_S
        with self._console.status("Waiting for the fusion replicas to load the model and share the lanes"):
            while not self._lanes_are_shared(replicas):
                self._programs.check()
                if time.monotonic() > deadline:
                    raise ProgramFailed(f"{replicas} fusion replicas did not get their lanes in {START_S:.0f} s.")
                self._stop.wait(FRAME_S)

    def _lanes_are_shared(self, replicas: int) -> bool:
        try:
            shares = assigned(self._impatient, self._settings.kafka.group)
        except Retriable:  # the group's coordinator is just starting
            return False
        return len(shares) >= replicas and 0 not in shares.values()

    def _take_bearings(self, reader: TopicReader) -> None:
        topics = self._settings.topics
        begins = self._queries.ends(self._queries.partitions(topics.sources), written=True)
        self._tally.begins = {(where.topic, where.partition): offset for where, offset in begins.items()}
        outputs = self._queries.partitions([topics.predictions, topics.dead_letters])
        reader.follow(self._queries.ends(outputs))

    def _publish(self, replay: Replay) -> None:
        from pipeline.digits.replay import triples  # noqa: PLC0415  (loads torch, after the programs were started)

        try:
            with Publisher(self._settings) as publisher:
                plan = Plan(
                    replay,
                    triples(replay.count, replay.seed),
                    moments(replay.rate, wall_ms),
                    self._settings.topics,
                    publisher.codec,
                )
                send(plan, self._noting(publisher.send), wall_ms, self._wait)
        except _Stopped:
            return
        except BaseException as error:
            self._failure = error

    def _noting(self, publish: Callable[[Output], None]) -> Callable[[Output], None]:
        def note_and_publish(output: Output) -> None:
            if (label := label_of(output.headers)) is not None and output.key is not None:
                self._tally.truth[output.key.decode()] = label
            publish(output)
            self._published += 1

        return note_and_publish

    def _wait(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped

    def _watch(self, reader: TopicReader, publisher: threading.Thread, records: int) -> None:
        self._started_s = time.monotonic()
        recent: deque[tuple[float, int]] = deque()
        give_up_s: float | None = None
        with Live(console=self._console, refresh_per_second=round(1 / FRAME_S)) as live:
            while publisher.is_alive() or self._tally.accounted < self._published:
                self._read(reader)
                now_s = time.monotonic()
                recent.append((now_s, self._tally.predictions))
                while now_s - recent[0][0] > RATE_OVER_S:
                    recent.popleft()
                rate = (recent[-1][1] - recent[0][1]) / max(now_s - recent[0][0], FRAME_S)
                live.update(view.live(self._tally, self._published, records, now_s - self._started_s, rate))
                self._programs.check()
                if self._failure is not None:
                    raise self._failure
                if not publisher.is_alive():
                    give_up_s = give_up_s or now_s + SETTLE_S
                    if now_s > give_up_s:
                        raise ProgramFailed(
                            f"{self._published - self._tally.accounted:,} records had no outcome {SETTLE_S:.0f} s "
                            "after the last was published: see .local/logs and `trimodal audit`."
                        )

    def _read(self, reader: TopicReader) -> None:
        for message in reader.poll(2_000, FRAME_S / 2):
            assert message.value is not None
            if message.topic == self._settings.topics.predictions:
                self._tally.prediction(self._codec.decode_prediction(message.value), wall_ms())
            else:
                self._tally.dead_letter(self._codec.decode_dead_letter(message.value))

    def _report(self, run: str) -> None:
        seconds = ((self._tally.last_ms or 0) - (self._tally.first_ms or 0)) / 1_000
        with self._console.status("Taking a picture of the board"):
            pictured = self._picture()
        with self._console.status("Waiting for the last documents in Elasticsearch"):
            by_label = self._indexed(run)
        self._console.print()
        self._console.print(view.figures(self._tally, max(seconds, FRAME_S), by_label))
        self._console.print(f"\n{pictured}", highlight=False, soft_wrap=True, markup=False)
        with self._console.status("Auditing: every record of the source topics against every output"):
            report = run_audit(self._settings)
        show(report)
        if not (report.balances and report.is_settled):
            raise ProgramFailed("The ledger does not balance: see the audit above.")

    def _indexed(self, run: str) -> dict[str, int]:
        search = PredictionSearch(connect(self._settings.elasticsearch), self._settings.elasticsearch)
        deadline = time.monotonic() + SETTLE_S
        while True:
            search.refresh()
            found = search.group("label", f"key:digit-{run}-* OR key:garbage-{run}-*")
            if found.total >= self._tally.predictions or time.monotonic() > deadline:
                return {group.value: group.predictions for group in found.groups}
            self._programs.check()
            self._stop.wait(FRAME_S)
