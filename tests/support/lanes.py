"""Lanes that tests fill by hand, and a source that notes what is held back."""

from collections.abc import Mapping, Sequence

from consumers.lanes import Lanes
from pipeline.events.records import Modality
from pipeline.join.outcomes import Record
from pipeline.kafka.contract import (
    Arrivals,
    GroupMetadata,
    Message,
    TopicPartition,
)
from pipeline.settings import JoinSettings, Settings

MIB = 2**20
SETTINGS = Settings(join=JoinSettings(max_bytes=MIB, max_lead_ms=5_000, out_of_order_ms=0, idle_ms=100))
TOPICS = SETTINGS.topics.sources
SPEECH, IMAGE, SENSOR = Modality


class PausableSource:
    """Takes note of what is held back."""

    def __init__(self) -> None:
        self.paused: set[TopicPartition] = set()
        self.calls = 0

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        assert not self.paused & set(partitions)
        self.paused |= set(partitions)
        self.calls += 1

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        assert self.paused >= set(partitions)
        self.paused -= set(partitions)
        self.calls += 1

    def poll(self, count: int, timeout_s: float) -> Arrivals:
        raise NotImplementedError

    def group_metadata(self) -> GroupMetadata:
        raise NotImplementedError

    def backlog(self) -> Mapping[TopicPartition, int]:
        raise NotImplementedError

    def rewind(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def where(modality: Modality, number: int = 0) -> TopicPartition:
    return TopicPartition(TOPICS[modality], number)


def arrive(lanes: Lanes, modality: Modality, offset: int, time_ms: int, size: int = 0) -> Message:
    lane = lanes.get(0)
    assert lane is not None
    message = Message(TOPICS[modality], 0, offset, time_ms, b"k", bytes(size))
    lane.admit(modality, [offset])
    lanes.take_in(size)
    lane.add(modality, [Record(modality, offset, b"%d-%d" % (modality, offset), time_ms)])
    lane.note_payload(modality, 0, size)
    return message


def held(lanes: Lanes, source: PausableSource, *, draining: bool = False, now_ms: int = 0) -> set[str]:
    lanes.hold_back(source, now_ms, draining=draining)
    assert set(lanes.paused) == source.paused
    return {partition.topic for partition in source.paused}
