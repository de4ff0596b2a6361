"""The board's main loop: outputs come in, are counted, and some are shown with their inputs."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from consumers.board.cards import CardMaker, letter_shown
from consumers.board.figures import Figures
from consumers.board.sampling import Sampler
from consumers.board.sources import SourceRecords
from pipeline.events.errors import Undecodable
from pipeline.events.records import DeadLetter, Prediction
from pipeline.kafka.contract import Message, TopicPartition
from pipeline.kafka.errors import KafkaFailure
from pipeline.kafka.offsets import OffsetQueries, Offsets
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.registry import codec
from pipeline.settings import Settings
from pipeline.telemetry.clock import wall_ms
from pipeline.telemetry.health import Health
from pipeline.telemetry.logs import logger

ROLE = "board"
POLL_RECORDS = 2_000
POLL_S = 0.2
SUMMARY_EVERY_S = 1.0
SOURCES_PATIENCE_S = 1.0
LISTED_AGAIN_S = 60.0
TRIED_AGAIN_S = 2.0
LONGEST_BEHIND_MS = 10_000
BURST = 6
_log = logger(__name__)

Publish = Callable[[str, Any], None]
"""Hands on content of a kind, as `Hub.say` and `Hub.show`."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where the feed's states and samples go."""

    say: Publish
    show: Publish


class Feed:
    """Reads predictions and dead letters as they are committed, from when it is made.

    Args:
        settings: brokers, topics and how much is shown.
        outlet: is told the figures once a second, and shown samples.
        health: is told that the loop goes round.

    Raises:
        KafkaFailure: no broker answers, or a topic is missing.
    """

    def __init__(self, settings: Settings, outlet: Outlet, health: Health) -> None:
        self._settings = settings
        self._topics = [settings.topics.predictions, settings.topics.dead_letters]
        self._outlet = outlet
        self._health = health
        self._codec = codec(settings.kafka, settings.topics)
        self._cards = CardMaker(self._codec, settings.topics)
        self._queries = OffsetQueries(settings.kafka, ROLE)
        self._next: Offsets = self._ends()
        self._figures = Figures(wall_ms())
        self._predictions = Sampler(settings.board.shown_per_second, BURST)
        self._letters = Sampler(settings.board.shown_per_second, BURST)

    def run(self, stop: threading.Event) -> None:
        """Reads until `stop` is set; when a client is of no more use, with a new one from where that stood."""
        while not stop.is_set():
            try:
                with TopicReader(self._settings.kafka, ROLE) as reader:
                    sources = SourceRecords(self._settings.kafka, SOURCES_PATIENCE_S)
                    try:
                        self._follow(reader, sources, stop)
                    finally:
                        sources.close()
            except KafkaFailure as error:
                _log.warning("reading is tried again", problem=str(error))
                self._rest(stop)

    def _follow(self, reader: TopicReader, sources: SourceRecords, stop: threading.Event) -> None:
        reader.follow(self._next)
        told_s = listed_s = time.monotonic()
        while not stop.is_set():
            self._health.beat()
            messages = reader.poll(POLL_RECORDS, POLL_S)
            if len(messages) == POLL_RECORDS and wall_ms() - messages[-1].timestamp_ms > LONGEST_BEHIND_MS:
                self._skip(reader)
                continue
            self._take(messages, sources, stop)
            if (now_s := time.monotonic()) - told_s >= SUMMARY_EVERY_S:
                told_s = now_s
                self._outlet.say("figures", self._figures.summary(wall_ms()))
            if now_s - listed_s >= LISTED_AGAIN_S:
                listed_s = now_s
                self._follow_new_partitions(reader)

    # 1. Everything is counted.

    def _take(self, messages: Sequence[Message], sources: SourceRecords, stop: threading.Event) -> None:
        predictions: list[tuple[Message, Prediction]] = []
        letters: list[tuple[Message, DeadLetter]] = []
        for message in messages:
            self._next[TopicPartition(message.topic, message.partition)] = message.offset + 1
            try:
                if message.topic == self._settings.topics.predictions:
                    prediction = self._codec.decode_prediction(message.value or b"")
                    self._figures.prediction(prediction, wall_ms())
                    predictions.append((message, prediction))
                else:
                    letter = self._codec.decode_dead_letter(message.value or b"")
                    self._figures.letter(letter, wall_ms())
                    letters.append((message, letter))
            except Undecodable:
                self._figures.unreadable += 1
        self._show(predictions, letters, sources, stop)

    # 2. Some of it is shown, predictions with their inputs.

    def _show(
        self,
        predictions: Sequence[tuple[Message, Prediction]],
        letters: Sequence[tuple[Message, DeadLetter]],
        sources: SourceRecords,
        stop: threading.Event,
    ) -> None:
        for message, letter in self._letters.choose(letters, time.monotonic()):
            self._outlet.show("letter", letter_shown(message, letter))
        for message, prediction in self._predictions.choose(predictions, time.monotonic()):
            records = sources.fetch(self._cards.wanted(prediction).values(), stop)
            self._outlet.show("prediction", self._cards.card(message, prediction, records))

    # 3. What cannot be kept up with is passed over; what is added is followed.

    def _skip(self, reader: TopicReader) -> None:
        ends = self._ends()
        self._figures.skipped += sum(max(0, end - self._next.get(where, end)) for where, end in ends.items())
        _log.warning("fell behind: passing over to the end", skipped=self._figures.skipped)
        self._next = ends
        reader.follow(ends)

    def _follow_new_partitions(self, reader: TopicReader) -> None:
        try:
            ends = self._ends()
        except KafkaFailure:
            return  # the lanes' thread says so on the page
        if ends.keys() != self._next.keys():
            self._next = {where: self._next.get(where, end) for where, end in ends.items()}
            reader.follow(self._next)

    def _ends(self) -> Offsets:
        return self._queries.ends(self._queries.partitions(self._topics))

    def _rest(self, stop: threading.Event) -> None:
        self._health.beat()
        stop.wait(TRIED_AGAIN_S)
