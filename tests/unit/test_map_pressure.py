"""A lane whose offset map is nearly full is held back until it shrinks."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from consumers.lanes import Lanes
from consumers.maps import MapSizes
from consumers.polling import MOST_RECORDS
from pipeline.events.records import Modality
from pipeline.join import offset_map
from pipeline.join.lane import Lane
from pipeline.join.tracker import Position
from pipeline.kafka.contract import (
    Committed,
    Fresh,
    TopicPartition,
)
from pipeline.settings import KafkaSettings
from tests.support.lanes import SETTINGS, TOPICS, PausableSource, arrive, held, where

SPEECH, IMAGE, SENSOR = Modality


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


def test_amendments_are_given_up_in_all_maps_of_a_lane_where_one_has_no_room(lanes: Lanes) -> None:
    """Else a restart would amend with less than was answered."""
    rng = random.Random(1)
    amendable, unfinished = (
        tuple(sorted(rng.sample(range(*span), 12_500))) for span in [(0, 25_000), (25_000, 50_000)]
    )
    positions = {
        SPEECH: Position(unfinished[0], 50_000, unfinished, 0, amendable),
        IMAGE: Position(25_000, 25_000, (), 0, amendable),
        SENSOR: Position.at(0),
    }
    with pytest.raises(offset_map.MapTooLarge):
        offset_map.encode(positions[SPEECH], TOPICS[SPEECH], 0)
    starts: dict[TopicPartition, Committed | Fresh] = {where(SENSOR): Fresh(0)}
    for modality in (SPEECH, IMAGE):
        position = positions[modality]
        starts[where(modality)] = Committed(position.low, offset_map.encode(position, TOPICS[modality], 0, 100_000))
    lanes.clear()
    lanes.assign(starts)
    committed = {place: offset_map.decode(c.metadata, *place, c.offset) for place, c in lanes.take_offsets().items()}
    assert committed == {where(modality): replace(positions[modality], amendable=()) for modality in Modality}
    assert lanes.maps.characters[where(IMAGE)] < 100


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


def test_the_largest_map_is_told(lanes: Lanes) -> None:
    lanes.take_offsets()
    told = lanes.maps.characters[where(SPEECH)]
    arrive(lanes, SPEECH, 0, 1_000)
    (committed,) = lanes.take_offsets().values()
    assert lanes.maps.characters[where(SPEECH)] == len(committed.metadata) != told
    assert lanes.maps.longest >= len(committed.metadata)


@pytest.mark.parametrize("characters", [255, 1_023, offset_map.MAX_CHARACTERS, 16_383])
def test_a_map_that_was_not_nearly_full_fits_after_the_next_poll(characters: int) -> None:
    draw, place = random.Random(1), TopicPartition("speech", 0)
    sizes = MapSizes(characters, offset_map.offsets_that_fit(characters))
    unfinished: list[int] = []
    read = 0
    while not sizes.is_nearly_full(0):
        at_ease, measured = list(unfinished), read
        unfinished += [offset for offset in range(read, read + 64) if draw.random() < 0.5]
        read += 64
        sizes.note(place, offset_map.size(position(unfinished, read), "speech", 0), read)
    sizes.note(place, 0, measured)
    more = 0
    while not sizes.is_due(place, measured + more):
        more += 1
    last = measured + (more - 1) + min(MOST_RECORDS, sizes.most_at_once)
    at_ease += [offset for offset in range(measured, last) if draw.random() < 0.5]
    offset_map.encode(position(at_ease, last), "speech", 0, characters)


def position(unfinished: Sequence[int], read: int) -> Position:
    return Position(unfinished[0], read, tuple(unfinished), replay_from=0)
