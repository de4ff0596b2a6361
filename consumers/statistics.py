"""The statistics program: a prediction's way into its windows and out to the topic of statistics, top to bottom.

`consumers.streaming` runs it: Faust restores the state, delivers predictions in the order of their offsets, and makes
each step durable before their offsets are committed.
"""

import json
import math
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from consumers.streaming.configuration import Names
from consumers.streaming.handler import Step
from consumers.streaming.stream import run
from consumers.windowing import shown
from consumers.windowing.windows import PROGRESS, Outcome, Spans, Windows
from pipeline.events.codec import Codec
from pipeline.events.errors import Invalid, RecordError
from pipeline.events.records import Statistic
from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.contract import Message, Output, TopicPartition
from pipeline.kafka.errors import Fatal
from pipeline.kafka.offsets import OffsetQueries
from pipeline.kafka.registry import codec
from pipeline.settings import Settings
from pipeline.telemetry import clock, metrics
from pipeline.telemetry.health import Health
from pipeline.telemetry.logs import logger

Ends = Callable[[Collection[int]], Mapping[int, int]]
_log = logger(__name__)


class Statistics:
    """Counts predictions in windows; a handler of `consumers.streaming`.

    Args:
        settings: windows and topics.
        codec: decodes predictions, encodes statistics.
        ends: partitions of the topic of predictions → the offset that follows its last record.
        monotonic_ms: the clock, for tests to drive.
    """

    def __init__(
        self, settings: Settings, codec: Codec, ends: Ends, monotonic_ms: Callable[[], int] = clock.monotonic_ms
    ) -> None:
        self._topics = settings.topics
        chosen = settings.statistics
        self._spans = Spans(chosen.windows_ms, chosen.keep_ms, settings.join.max_skew_ms)
        self._codec = codec
        self._ends = ends
        self._now_ms = monotonic_ms
        self._windows = Windows(self._spans, (), 0)
        self._outcomes: Counter[str] = Counter()

    # 0. What was kept is taken up again.

    def restored(self, state: Mapping[str, bytes], partitions: Collection[int]) -> None:
        """Goes on with the windows that were open."""
        windows = Windows.restored(self._spans, partitions, self._now_ms(), state)
        ends = self._ends(partitions)
        for partition, offset in windows.next_offsets.items():
            if offset > ends.get(partition, offset):
                raise Fatal(
                    f"{self._topics.predictions}[{partition}] is counted up to offset {offset}, and it ends at "
                    f"{ends[partition]}: was the topic made anew? Delete {self._topics.statistics_changelog} too "
                    "(`kafka-topics.sh --delete --topic NAME`) and run `trimodal topics create`."
                )
        self._windows = windows

    def positions(self) -> Mapping[int, int]:
        """Returns partition → the offset up to which all has been counted."""
        return self._windows.next_offsets

    # 1. A prediction is decoded and counted.

    def received(self, message: Message) -> None:
        """Counts a prediction; what cannot be counted is skipped, and the next step says so."""
        try:
            prediction = self._codec.decode_prediction(message.value or b"")
            if not (math.isfinite(prediction.confidence) and math.isfinite(prediction.latency_ms)):
                raise Invalid("Its confidence or latency is not a finite number.")
            outcome: str = self._windows.add(
                prediction, message.partition, message.offset, message.timestamp_ms, self._now_ms()
            )
        except RecordError as error:
            _log.warning("prediction skipped", record=str(message), problem=str(error))
            outcome = "unusable"
        self._outcomes[outcome] += 1

    # 2. What has changed is published, then kept.

    def step(self) -> Step:
        """Returns the statistics that have changed, under keys that make the newest value of a window count."""
        changes = self._windows.changes(self._now_ms())
        outputs = [
            Output(self._topics.statistics, key_of(statistic), self._codec.encode_statistic(statistic))
            for statistic in changes.statistics
        ]
        for outcome, count in self._outcomes.items():
            metrics.COUNTED.labels(outcome).inc(count)
            if outcome in _NOT_COUNTED:
                _log.warning("predictions not counted", predictions=count, why=_NOT_COUNTED[outcome])
        self._outcomes.clear()
        return Step(outputs, (changes.parts, {PROGRESS: changes.progress}), changes.forgotten)

    # 3. And it is there to look at.

    def view(self, query: Mapping[str, str]) -> Any:
        """Returns the windows that are not over, newest first; `window_ms` and `label` choose among them."""
        if unknown := query.keys() - {"window_ms", "label"}:
            raise ValueError(f"There is no parameter {', '.join(sorted(unknown))}: choose by window_ms or label.")
        length, label = query.get("window_ms"), query.get("label")
        if length is not None and length not in map(str, self._spans.lengths):
            raise ValueError(f"No window has {length} ms: statistics.windows_ms is {list(self._spans.lengths)}.")
        chosen = (
            statistic
            for statistic in self._windows.shown()
            if length in {None, str(statistic.window_end_ms - statistic.window_start_ms)}
            and label in {None, statistic.label}
        )
        return {"statistics": [shown.fields(statistic) for statistic in chosen]}


_NOT_COUNTED: dict[str, str] = {
    Outcome.LATE: "their windows are over: see statistics.keep_ms",
    Outcome.AHEAD: "their event times are ahead of the broker's clock: see join.max_skew_ms",
}


def key_of(statistic: Statistic) -> bytes:
    """Returns the message key: window, model version, label and inputs, as a JSON array."""
    modalities = [modality.name for modality in statistic.modalities]
    window = [statistic.window_start_ms, statistic.window_end_ms]
    return json.dumps([*window, statistic.model_version, statistic.label, modalities], ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Program:
    """The statistics program, ready to run."""

    settings: Settings
    names: Names
    handler: Statistics
    health: Health

    def run(self, stop: threading.Event) -> None:
        """Counts, or stands by while another member of the group does, until told to stop."""
        run(self.settings, self.names, self.handler, self.health, stop)


def build(settings: Settings, health: Health | None = None) -> Program:
    """Returns a program that is ready to run: topics checked, group about to be joined.

    Args:
        settings: everything.
        health: is told how the program is.

    Raises:
        KafkaFailure: the broker or the topics are not as needed.
    """
    kafka, topics = settings.kafka, settings.topics
    TopicAdmin(kafka, topics).check([topics.predictions, topics.statistics, topics.statistics_changelog])
    queries = OffsetQueries(kafka, "statistics")

    def ends(partitions: Collection[int]) -> Mapping[int, int]:
        places = [TopicPartition(topics.predictions, number) for number in partitions]
        return {where.partition: offset for where, offset in queries.ends(places, written=True).items()}

    names = Names(f"{kafka.group}-statistics", topics.predictions, topics.statistics, topics.statistics_changelog)
    return Program(settings, names, Statistics(settings, codec(kafka, topics), ends), health or Health())
