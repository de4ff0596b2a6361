"""The lanes of a replica: whole or not at all, and held back when they must be."""

import pytest

from consumers.lanes import Lanes
from pipeline.events.records import Modality
from pipeline.join import offset_map
from pipeline.join.tracker import Position
from pipeline.kafka.contract import (
    Committed,
    Delivery,
    EndOfPartition,
    Fresh,
    TopicPartition,
)
from pipeline.kafka.errors import Fatal
from tests.support.lanes import MIB, SETTINGS, TOPICS, PausableSource, arrive, held, where

SPEECH, IMAGE, SENSOR = Modality


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


def test_deliveries_of_lanes_that_are_held_are_taken_in_the_order_of_their_modalities(lanes: Lanes) -> None:
    places = where(SPEECH), where(IMAGE), where(SENSOR), where(SPEECH, 1)
    speech, image, sensor, not_ours = (Delivery(place, [0], [1_000], [b"k"], [b"v"]) for place in places)
    assert lanes.ours([sensor, speech, not_ours, image]) == [(SPEECH, speech), (IMAGE, image), (SENSOR, sensor)]


def test_a_partition_far_ahead_waits_for_the_slowest(lanes: Lanes, source: PausableSource) -> None:
    for modality in Modality:
        arrive(lanes, modality, 0, 1_000)
    assert held(lanes, source) == set()
    arrive(lanes, SPEECH, 1, 6_000)
    assert held(lanes, source) == set()
    arrive(lanes, SPEECH, 2, 6_001)
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
    assert held(lanes, source, draining=True) == {"image", "sensor"}, "half may wait, but not what runs ahead"
    for modality in (SPEECH, IMAGE):
        arrive(lanes, modality, 1, 1_002)
    assert held(lanes, source, draining=True) == set()


def test_what_runs_ahead_may_take_a_third_of_an_eighth_of_what_may_wait(lanes: Lanes, source: PausableSource) -> None:
    share = MIB // 24
    for modality in Modality:
        arrive(lanes, modality, 0, 1_000)
    for offset in range(1, 5):
        arrive(lanes, SPEECH, offset, 1_000 + 100 * offset, share // 4)
    assert held(lanes, source) == set()
    arrive(lanes, SPEECH, 5, 1_500, 4)
    assert held(lanes, source) == {"speech"}
    for modality in (IMAGE, SENSOR):
        arrive(lanes, modality, 1, 1_200)
    assert held(lanes, source) == {"speech"}, "the others have not caught up with half of it"
    arrive(lanes, SENSOR, 2, 1_300)
    assert held(lanes, source) == {"speech"}, "one of them has not"
    arrive(lanes, IMAGE, 2, 1_300)
    assert held(lanes, source) == set()


def test_what_waits_for_an_input_that_is_away_has_not_run_ahead(lanes: Lanes, source: PausableSource) -> None:
    for offset in range(10):
        arrive(lanes, SPEECH, offset, 1_000 + 100 * offset, MIB // 24)
        arrive(lanes, IMAGE, offset, 1_000 + 100 * offset, MIB // 24)
        lanes.at_ends([EndOfPartition(TOPICS[SENSOR], 0, 0)], now_ms=0)
        assert held(lanes, source, now_ms=1_000) == set()


def test_of_more_lanes_each_has_a_smaller_share(source: PausableSource) -> None:
    lanes = Lanes(SETTINGS)
    lanes.assign({where(modality, number): Fresh(0) for modality in Modality for number in (0, 1)})
    for modality in Modality:
        arrive(lanes, modality, 0, 1_000 + modality, MIB // 24)
    assert held(lanes, source) == {"image", "sensor"}


def test_when_full_and_idle_only_the_slowest_goes_on(lanes: Lanes, source: PausableSource) -> None:
    for modality, size in zip(Modality, (MIB + 1, 1, 1), strict=True):
        arrive(lanes, modality, 0, 1_000 + modality, size)
    assert held(lanes, source, draining=False) == {"image", "sensor"}, "little as they have"


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


def test_ends_of_lanes_that_are_not_ours_do_not_matter(lanes: Lanes) -> None:
    lanes.at_ends([EndOfPartition(TOPICS[SPEECH], 5, 1)], now_ms=0)
    assert lanes.get(5) is None
