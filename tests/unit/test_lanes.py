"""The lanes of a replica: whole or not at all, and held back when they must be."""

import random
from collections.abc import Mapping, Sequence

import pytest

from consumers.lanes import Lanes
from pipeline.events.records import Modality
from pipeline.join import offset_map
from pipeline.join.lane import Lane
from pipeline.join.outcomes import Record
from pipeline.join.tracker import Position
from pipeline.kafka.contract import (
    Arrivals,
    Committed,
    EndOfPartition,
    Fresh,
    GroupMetadata,
    Message,
    TopicPartition,
)
from pipeline.kafka.errors import Fatal
from pipeline.settings import JoinSettings, KafkaSettings, Settings

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


@pytest.fixture
def lanes() -> Lanes:
    lanes = Lanes(SETTINGS)
    lanes.assign({where(modality): Fresh(0) for modality in Modality})
    return lanes


@pytest.fixture
def source() -> PausableSource:
    return PausableSource()


def arrive(lanes: Lanes, modality: Modality, offset: int, time_ms: int, size: int = 0) -> Message:
    lane = lanes.get(0)
    assert lane is not None
    message = Message(TOPICS[modality], 0, offset, time_ms, b"k", bytes(size))
    lane.admit(modality, [offset])
    lanes.take_in(size)
    lane.add(modality, [Record(modality, offset, b"%d-%d" % (modality, offset), time_ms)])
    return message


def held(lanes: Lanes, source: PausableSource, *, draining: bool = False, now_ms: int = 0) -> set[str]:
    lanes.hold_back(source, now_ms, draining=draining)
    assert set(lanes.paused) == source.paused
    return {partition.topic for partition in source.paused}


def test_a_torn_lane_is_refused() -> None:
    with pytest.raises(Fatal, match="Lane 1 was assigned without image: the source topics need equal partition"):
        Lanes(SETTINGS).assign({where(m, n): Fresh(0) for m in Modality for n in (0, 1) if (m, n) != (IMAGE, 1)})


def test_lanes_are_read_from_where_their_maps_say() -> None:
    position = Position(low=7, high=9, unfinished=(7,), replay_from=4)
    starts: dict[TopicPartition, Committed | Fresh] = {where(modality): Fresh(3) for modality in Modality}
    starts[where(IMAGE)] = Committed(7, offset_map.encode(position, TOPICS[IMAGE], 0))
    lanes = Lanes(SETTINGS)
    assert lanes.assign(starts) == {where(SPEECH): 3, where(IMAGE): 4, where(SENSOR): 3}
    assert list(lanes.held) == [0]
    assert lanes.is_assigned


def test_a_foreign_map_is_refused() -> None:
    starts: dict[TopicPartition, Committed | Fresh] = {where(modality): Fresh(3) for modality in Modality}
    starts[where(IMAGE)] = Committed(7, "")
    with pytest.raises(offset_map.UnreadableMap, match=r"image\[0\] at offset 7"):
        Lanes(SETTINGS).assign(starts)


def test_a_partition_far_ahead_waits_for_the_slowest(lanes: Lanes, source: PausableSource) -> None:
    for modality in Modality:
        arrive(lanes, modality, 0, 1_000)
    assert held(lanes, source) == set()
    arrive(lanes, SPEECH, 1, 6_001)
    assert held(lanes, source) == {"speech"}
    assert held(lanes, source) == {"speech"}
    assert source.calls == 1
    arrive(lanes, IMAGE, 1, 1_001)
    arrive(lanes, SENSOR, 1, 1_001)
    assert held(lanes, source) == set()


def test_when_full_all_wait_while_the_model_works(lanes: Lanes, source: PausableSource) -> None:
    for modality in Modality:
        arrive(lanes, modality, 0, 1_000 + modality, MIB // 2)
    assert held(lanes, source, draining=True) == {"speech", "image", "sensor"}
    lanes.let_go(MIB // 2)
    assert held(lanes, source, draining=True) == {"speech", "image", "sensor"}, "not before there is relief"
    lanes.let_go(MIB // 2)
    assert held(lanes, source, draining=True) == {"image", "sensor"}, "half may wait, but not for what runs ahead"
    lanes.let_go(MIB // 2)
    assert held(lanes, source, draining=True) == set()


def test_with_a_quarter_of_what_may_wait_none_runs_ahead(lanes: Lanes, source: PausableSource) -> None:
    for modality in Modality:
        arrive(lanes, modality, 0, 1_000 + modality, MIB // 12)
    assert held(lanes, source) == set()
    lanes.take_in(MIB // 12)
    assert held(lanes, source) == {"image", "sensor"}
    lanes.let_go(MIB // 12)
    assert held(lanes, source) == set()


def test_when_full_and_idle_only_the_slowest_goes_on(lanes: Lanes, source: PausableSource) -> None:
    for modality in Modality:
        arrive(lanes, modality, 0, 1_000 + modality, MIB // 2)
    assert held(lanes, source, draining=False) == {"image", "sensor"}


def test_a_nearly_full_map_lets_only_the_slowest_go_on(lanes: Lanes, source: PausableSource) -> None:
    for modality in Modality:
        arrive(lanes, modality, 0, 1_000 + modality)
    lane = lanes.get(0)
    assert lane is not None
    unfinished = {0, *random.Random(1).sample(range(1, 26_000), 13_000)}
    for offset in range(1, 26_000):
        lane.admit(SPEECH, [offset])
        if offset not in unfinished:
            lane.finish(SPEECH, [offset])
    lanes.take_offsets()
    assert held(lanes, source) == {"image", "sensor"}
    for offset in unfinished:
        lane.finish(SPEECH, [offset])
    lanes.take_offsets()
    assert held(lanes, source) == set()


def half_finished(lane: Lane, count: int) -> None:
    """Delivers speech, every other record of which is finished, in no regular order."""
    finished = random.Random(1).sample(range(1, count), count // 2)
    for offset in range(1, count):
        lane.admit(SPEECH, [offset])
    for offset in finished:
        lane.finish(SPEECH, [offset])


def test_a_nearly_full_map_lets_none_go_on_while_its_records_are_with_the_model(
    lanes: Lanes, source: PausableSource
) -> None:
    for modality in Modality:
        arrive(lanes, modality, 0, 1_000 + modality)
    lane = lanes.get(0)
    assert lane is not None
    half_finished(lane, 22_000)  # settled, since no window is open for them
    assert held(lanes, source, draining=True) == {"speech", "image", "sensor"}
    assert held(lanes, source, draining=False) == {"image", "sensor"}


def test_the_pressure_stays_while_only_other_partitions_move(lanes: Lanes, source: PausableSource) -> None:
    for modality in Modality:
        arrive(lanes, modality, 0, 1_000 + modality)
    lane = lanes.get(0)
    assert lane is not None
    half_finished(lane, 26_000)
    lanes.take_offsets()
    arrive(lanes, IMAGE, 1, 1_000)
    lanes.take_offsets()
    assert held(lanes, source) == {"image", "sensor"}


def test_the_pressure_is_felt_while_a_commit_is_on_its_way(lanes: Lanes, source: PausableSource) -> None:
    for modality in Modality:
        arrive(lanes, modality, 0, 1_000 + modality)
    lanes.take_offsets()
    lane = lanes.get(0)
    assert lane is not None
    half_finished(lane, 22_000)
    assert held(lanes, source) == {"image", "sensor"}
    for offset in range(22_000, 27_000):
        lane.admit(SPEECH, [offset])
    assert held(lanes, source) == {"image", "sensor"}, "a map that no longer fits is measured all the same"


def test_a_restart_is_under_the_pressure_of_the_committed_map(source: PausableSource) -> None:
    unfinished = (0, *sorted(random.Random(1).sample(range(1, 26_000), 13_000)))
    starts: dict[TopicPartition, Committed | Fresh] = {where(modality): Fresh(0) for modality in Modality}
    position = Position(0, 26_000, unfinished, 0)
    starts[where(SPEECH)] = Committed(0, offset_map.encode(position, TOPICS[SPEECH], 0))
    lanes = Lanes(SETTINGS)
    lanes.assign(starts)
    for modality in Modality:
        arrive(lanes, modality, 0, 1_000 + modality)
    assert held(lanes, source) == {"image", "sensor"}


def test_pressure_comes_earlier_where_the_brokers_allow_less(source: PausableSource) -> None:
    lanes = Lanes(SETTINGS.model_copy(update={"kafka": KafkaSettings(offset_metadata_bytes=1_024)}))
    lanes.assign({where(modality): Fresh(0) for modality in Modality})
    for modality in Modality:
        arrive(lanes, modality, 0, 1_000 + modality)
    lane = lanes.get(0)
    assert lane is not None
    half_finished(lane, 5_500)
    assert len(lanes.take_offsets()[where(SPEECH)].metadata) < 1_024
    assert held(lanes, source) == {"image", "sensor"}
    rng = random.Random(2)
    for offset in range(5_500, 9_000):
        lane.admit(SPEECH, [offset])
        if rng.random() < 0.5:
            lane.finish(SPEECH, [offset])
    with pytest.raises(offset_map.MapTooLarge, match="and 1023 fit"):
        lanes.take_offsets()


def test_a_new_lane_is_not_under_the_pressure_of_the_last(lanes: Lanes, source: PausableSource) -> None:
    lane = lanes.get(0)
    assert lane is not None
    for offset in range(26_000):
        lane.admit(SPEECH, [offset])
        if offset and hash(str(offset)) % 2:
            lane.finish(SPEECH, [offset])
    lanes.take_offsets()
    lanes.clear()
    lanes.assign({where(modality): Fresh(0) for modality in Modality})
    for modality in Modality:
        arrive(lanes, modality, 0, 1_000 + modality)
    assert held(lanes, source) == set()


def test_a_paused_partition_is_not_taken_for_idle(lanes: Lanes, source: PausableSource) -> None:
    for modality, time_ms in zip(Modality, (1_000, 5_000, 5_000), strict=True):
        arrive(lanes, modality, 0, time_ms, MIB)
    lanes.at_ends([EndOfPartition(TOPICS[SPEECH], 0, 1)], now_ms=0)
    assert held(lanes, source, draining=True) == {"speech", "image", "sensor"}
    list(lanes.advance(now_ms=10_000))
    lane = lanes.get(0)
    assert lane is not None
    assert lane.watermark_ms == 1_000, "it may hold more than it was let deliver"


def test_forgotten_lanes_hold_nothing(lanes: Lanes, source: PausableSource) -> None:
    for modality in Modality:
        arrive(lanes, modality, 0, 1_000 + modality, MIB)
    held(lanes, source, draining=True)
    assert lanes.waiting_bytes == 3 * MIB
    lanes.clear()
    assert lanes.get(0) is None
    assert not lanes.is_assigned
    assert lanes.waiting_bytes == 0
    fresh = PausableSource()
    lanes.assign({where(modality): Fresh(0) for modality in Modality})
    assert held(lanes, fresh, draining=True) == set()
    assert fresh.calls == 0


def test_the_largest_map_is_told(lanes: Lanes) -> None:
    lanes.take_offsets()
    told = lanes.maps.characters[where(SPEECH)]
    arrive(lanes, SPEECH, 0, 1_000)
    (committed,) = lanes.take_offsets().values()
    assert lanes.maps.characters[where(SPEECH)] == len(committed.metadata) != told
    assert lanes.maps.longest >= len(committed.metadata)


def test_ends_of_lanes_that_are_not_ours_do_not_matter(lanes: Lanes) -> None:
    lanes.at_ends([EndOfPartition(TOPICS[SPEECH], 5, 1)], now_ms=0)
    assert lanes.get(5) is None
