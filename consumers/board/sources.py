"""Reads single source records, by their places, for the few predictions that are shown."""

import threading
import time
from collections.abc import Collection

from pipeline.events.records import SourceOffset
from pipeline.kafka.contract import Message, TopicPartition
from pipeline.kafka.reader import TopicReader
from pipeline.settings import KafkaSettings

AHEAD_BYTES = 64 * 2**10
_STEP_S = 0.1
_RECORDS = 100


class SourceRecords:
    """Fetches source records. What does not come in time is left out: it is for looking at.

    Args:
        kafka: the brokers.
        patience_s: how long one call may take.
    """

    def __init__(self, kafka: KafkaSettings, patience_s: float) -> None:
        self._reader = TopicReader(kafka, "board-sources", AHEAD_BYTES)
        self._patience_s = patience_s

    def fetch(self, places: Collection[SourceOffset], stop: threading.Event) -> dict[SourceOffset, Message]:
        """Returns the records at these places, at most one of a partition; those that came until `stop`.

        Raises:
            Fatal: a partition cannot be read.
        """
        waiting = {TopicPartition(place.topic, place.partition): place for place in places}
        found: dict[SourceOffset, Message] = {}
        until_s = time.monotonic() + self._patience_s
        self._reader.follow({where: place.offset for where, place in waiting.items()})
        while waiting and time.monotonic() < until_s and not stop.is_set():
            for message in self._reader.poll(_RECORDS, _STEP_S):
                place = waiting.pop(TopicPartition(message.topic, message.partition), None)
                if place is not None and message.offset == place.offset:
                    found[place] = message
        self._reader.follow({})
        return found

    def close(self) -> None:
        """Closes the client."""
        self._reader.close()
