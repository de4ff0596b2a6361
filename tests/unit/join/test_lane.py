"""A lane: what it commits, and what a new owner knows."""

from collections.abc import Mapping

from pipeline.events.records import Modality
from pipeline.join.lane import RECORD_BYTES, Lane
from pipeline.join.outcomes import Amended, Duplicate, Joined, JoinRules, Outcome, Partial, Record
from pipeline.join.tracker import Position

RULES = JoinRules(window_ms=1_000, out_of_order_ms=100, idle_ms=50)
SPEECH, IMAGE, SENSOR = Modality


def fresh() -> Lane:
    return Lane(RULES, dict.fromkeys(Modality, Position.at(0)))


def restarted(lane: Lane) -> Lane:
    return Lane(RULES, {modality: lane.position(modality) for modality in Modality})


def take(lane: Lane, modality: Modality, offset: int, key: bytes, time_ms: int) -> Outcome | None:
    record = Record(modality, offset, key, time_ms)
    outcomes = lane.add(modality, [record], lane.admit(modality, [offset]))
    return outcomes[0] if outcomes else None


def join(lane: Lane, offset: int, key: bytes, time_ms: int) -> None:
    outcomes = [take(lane, modality, offset, key, time_ms) for modality in Modality]
    assert isinstance(outcomes[-1], Joined)
    for modality in Modality:
        lane.finish(modality, [offset])


def test_a_restart_need_not_read_what_the_join_has_forgotten() -> None:
    lane = fresh()
    for offset in range(100):
        join(lane, offset, b"%d" % offset, offset * 100)
        lane.advance(now_ms=0)
    position = lane.position(SPEECH)
    watermark_ms = 9_900 - RULES.out_of_order_ms
    assert (position.low, position.high) == (100, 100)
    assert 70 <= position.replay_from <= (watermark_ms - 2 * RULES.window_ms) // 100
    assert restarted(lane).position(SPEECH).replay_from == position.replay_from


def test_a_new_owner_knows_the_keys_of_the_last_window() -> None:
    lane = fresh()
    join(lane, 0, b"a", 500)
    lane.advance(now_ms=0)
    owner = restarted(lane)
    for modality in Modality:
        assert take(owner, modality, 0, b"a", 500) is None
    assert isinstance(take(owner, IMAGE, 1, b"a", 500), Duplicate)


def test_open_windows_are_rebuilt_from_what_is_unfinished() -> None:
    lane = fresh()
    assert take(lane, SPEECH, 0, b"a", 0) is None
    assert take(lane, IMAGE, 0, b"a", 0) is None
    join(lane, 1, b"b", 10)
    owner = restarted(lane)
    assert lane.position(SPEECH) == Position(low=0, high=2, unfinished=(0,), replay_from=0)
    for modality in (SPEECH, IMAGE):
        assert take(owner, modality, 0, b"a", 0) is None
        assert take(owner, modality, 1, b"b", 10) is None
    assert owner.open_windows == 1
    assert isinstance(take(owner, SENSOR, 2, b"a", 0), Joined)


def test_only_changed_positions_are_taken() -> None:
    lane = fresh()
    assert set(lane.take_changed()) == set(Modality), "a new lane commits where it begins"
    assert lane.take_changed() == {}
    take(lane, IMAGE, 0, b"a", 0)
    assert lane.take_changed() == {IMAGE: Position(low=0, high=1, unfinished=(0,), replay_from=0)}
    lane.finish(IMAGE, [0])
    assert lane.take_changed() == {IMAGE: Position(low=1, high=1, unfinished=(), replay_from=0)}
    lane.at_end(SENSOR, 5, now_ms=0)
    assert lane.take_changed() == {SENSOR: Position(low=5, high=5, unfinished=(), replay_from=0)}


AMENDING = JoinRules(window_ms=1_000, out_of_order_ms=100, idle_ms=50, amend_ms=10_000)


def partly_answered() -> Lane:
    """Key a was answered without its sensor event, and that is committed; key b moves the time on."""
    lane = Lane(AMENDING, dict.fromkeys(Modality, Position.at(0)))
    take(lane, SPEECH, 0, b"a", 0)
    take(lane, IMAGE, 0, b"a", 0)
    for modality in Modality:
        take(lane, modality, 1, b"b", 2_000)
        lane.finish(modality, [1])
    (outcome,) = lane.advance(now_ms=0)
    assert isinstance(outcome, Partial)
    lane.finish(SPEECH, [0])
    lane.finish(IMAGE, [0])
    assert amendable_in(lane.take_changed()) == {SPEECH: (0,), IMAGE: (0,), SENSOR: ()}
    return lane


def amendable_in(positions: Mapping[Modality, Position]) -> dict[Modality, tuple[int, ...]]:
    return {modality: position.amendable for modality, position in positions.items()}


def test_what_is_amended_can_be_amended_until_that_is_committed() -> None:
    lane = partly_answered()
    assert isinstance(take(lane, SENSOR, 2, b"a", 500), Amended)
    assert isinstance(take(lane, SPEECH, 2, b"a", 500), Duplicate)
    lane.finish(SPEECH, [2])
    assert amendable_in(lane.take_changed()) == {SPEECH: (0,), SENSOR: ()}
    owner = Lane(AMENDING, {modality: lane.position(modality) for modality in Modality})
    for modality, offset in [(SENSOR, 2), (IMAGE, 0), (SPEECH, 0)]:
        assert take(owner, modality, offset, b"a", 500 * (offset > 0)) is None
    assert take(owner, SPEECH, 1, b"b", 2_000) is None
    assert take(owner, IMAGE, 1, b"b", 2_000) is None
    assert take(owner, SPEECH, 2, b"a", 500) is None
    (outcome,) = owner.advance(now_ms=0)
    assert isinstance(outcome, Amended)
    assert [(record.modality, record.offset) for record in outcome.records] == [(SPEECH, 0), (IMAGE, 0), (SENSOR, 2)]


def test_what_can_no_longer_be_amended_is_told_of_all_its_partitions_at_once() -> None:
    lane = partly_answered()
    lane.give_up_amendments()
    assert amendable_in(lane.take_changed()) == {SPEECH: (), IMAGE: ()}
    assert lane.take_changed() == {}


def test_what_is_given_up_before_it_is_read_again_is_not_amended() -> None:
    before = partly_answered()
    owner = Lane(AMENDING, {modality: before.position(modality) for modality in Modality})
    owner.take_changed()
    assert take(owner, SPEECH, 0, b"a", 0) is None
    owner.give_up_amendments()
    assert take(owner, IMAGE, 0, b"a", 0) is None
    assert amendable_in(owner.take_changed()) == {SPEECH: (), IMAGE: ()}
    assert owner.kept_bytes == 0


def test_what_can_be_amended_stays_so_while_it_is_not_read_again() -> None:
    before = partly_answered()
    owner = Lane(AMENDING, {modality: before.position(modality) for modality in Modality})
    assert take(owner, SPEECH, 0, b"a", 0) is None
    assert amendable_in(owner.take_changed()) == {SPEECH: (0,), IMAGE: (0,), SENSOR: ()}


def test_what_waits_and_what_was_deleted_is_counted() -> None:
    positions = {modality: Position.at(0) for modality in Modality}
    lane = Lane(RULES, positions | {SPEECH: Position(low=3, high=9, unfinished=(3, 4), replay_from=1)})
    assert lane.unfinished(SPEECH) == 2
    assert lane.admit(SPEECH, [8]) == {8}
    assert lane.vanished(SPEECH) == 2
    assert lane.unfinished(SPEECH) == 0


def test_a_new_record_ends_the_idleness_of_its_partition() -> None:
    lane = fresh()
    take(lane, SPEECH, 0, b"a", 5_000)
    take(lane, IMAGE, 0, b"b", 5_000)
    lane.at_end(SENSOR, 0, now_ms=0)
    lane.admit(SENSOR, [0])
    lane.advance(now_ms=1_000)
    assert lane.watermark_ms is None
    lane.at_end(SENSOR, 1, now_ms=1_000)
    lane.advance(now_ms=1_050)
    assert lane.watermark_ms == 4_900


def test_a_paused_partition_holds_the_watermark() -> None:
    lane = fresh()
    take(lane, SPEECH, 0, b"a", 5_000)
    take(lane, IMAGE, 0, b"b", 5_000)
    lane.at_end(SENSOR, 0, now_ms=0)
    lane.not_at_end(SENSOR)
    lane.advance(now_ms=1_000)
    assert lane.watermark_ms is None
    assert {by.ms for by in lane.ahead(now_ms=1_000).values()} == {0}
    take(lane, SPEECH, 1, b"c", 9_000)
    assert {modality: by.ms for modality, by in lane.ahead(now_ms=1_000).items()} == {
        SPEECH: 4_000,
        IMAGE: 0,
        SENSOR: 0,
    }


def test_what_is_ahead_is_measured_with_what_a_record_takes_beside_its_value() -> None:
    lane = fresh()
    lane.note_payload(SENSOR, 1, 1)
    assert lane.ahead(now_ms=0) == {}, "no record has shown a time"
    for modality, time_ms, records, size in ((SPEECH, 3_000, 2, 30), (IMAGE, 2_000, 1, 5), (SENSOR, 1_000, 1, 7)):
        take(lane, modality, 0, b"a", time_ms)
        lane.note_payload(modality, records, size)
    assert lane.ahead(now_ms=0) == {
        SPEECH: (2_000, 30 + 2 * RECORD_BYTES),
        IMAGE: (1_000, 5 + RECORD_BYTES),
        SENSOR: (0, 0),
    }
