"""Positions: what is finished, and where a restart begins."""

import pytest

from pipeline.join.tracker import Lookback, OffsetTracker, Position


def test_the_committed_offset_is_the_lowest_unfinished() -> None:
    tracker = OffsetTracker(Position.at(10))
    assert not tracker.admit([10, 11, 12])
    assert not tracker.admit([15])
    tracker.finish([11])
    tracker.finish([15])
    assert tracker.position() == Position(low=10, high=16, unfinished=(10, 12), replay_from=10)
    tracker.finish([10])
    tracker.finish([12])
    assert tracker.position() == Position(low=16, high=16, unfinished=(), replay_from=10)


def test_a_restart_skips_what_is_finished() -> None:
    tracker = OffsetTracker(Position(low=10, high=14, unfinished=(10, 12), replay_from=8))
    assert tracker.admit(range(8, 16)) == {8, 9, 11, 13}


def test_what_a_whole_delivery_passes_over_is_given_up() -> None:
    tracker = OffsetTracker(Position(low=10, high=14, unfinished=(10, 12), replay_from=8))
    assert len(tracker) == 2
    assert not tracker.admit([20, 21, 22])
    assert tracker.vanished == 2
    assert tracker.position().unfinished == (20, 21, 22)


def test_what_has_been_delivered_is_known() -> None:
    tracker = OffsetTracker(Position(low=10, high=14, unfinished=(10, 12), replay_from=8))
    assert tracker.next == 8
    tracker.admit([8, 9])
    assert tracker.next == 10
    tracker.admit([10, 11, 12, 13, 14, 15])
    assert tracker.next == 16


def test_transaction_markers_at_the_end_count_as_read() -> None:
    tracker = OffsetTracker(Position.at(0))
    tracker.admit([0])
    tracker.finish([0])
    tracker.at_end(3)
    assert tracker.position().low == 3


def test_unfinished_records_deleted_by_retention_do_not_hold_the_position() -> None:
    tracker = OffsetTracker(Position(low=10, high=20, unfinished=(10, 12, 18), replay_from=10))
    assert tracker.admit([15]) == {15}
    assert tracker.vanished == 2
    assert tracker.position().low == 18
    tracker.at_end(25)
    assert tracker.vanished == 3
    assert tracker.position().low == 25


def test_delivery_out_of_order_is_refused() -> None:
    tracker = OffsetTracker(Position.at(5))
    tracker.admit([7])
    with pytest.raises(ValueError, match="offset 6 was delivered when 8 was the next to come"):
        tracker.admit([6])


def test_finishing_twice_is_refused() -> None:
    tracker = OffsetTracker(Position.at(0))
    tracker.admit([0])
    tracker.finish([0])
    with pytest.raises(KeyError):
        tracker.finish([0])


@pytest.mark.parametrize(
    "fields",
    [
        {"low": 5, "high": 4, "unfinished": (), "replay_from": 0},
        {"low": 5, "high": 9, "unfinished": (), "replay_from": 0},
        {"low": 5, "high": 9, "unfinished": (6,), "replay_from": 0},
        {"low": 5, "high": 5, "unfinished": (), "replay_from": 6},
        {"low": 5, "high": 9, "unfinished": (5, 9), "replay_from": 0},
        {"low": 5, "high": 5, "unfinished": (), "replay_from": 3, "amendable": (2,)},
        {"low": 5, "high": 5, "unfinished": (), "replay_from": 3, "amendable": (5,)},
        {"low": 5, "high": 9, "unfinished": (5, 7), "replay_from": 3, "amendable": (7,)},
    ],
)
def test_a_position_that_contradicts_itself_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="contradicts itself"):
        Position(**fields)  # type: ignore[arg-type]


def test_amendable_records_are_read_again() -> None:
    tracker = OffsetTracker(Position.at(0))
    for offset in range(5):
        tracker.admit([offset])
    tracker.finish([1])
    tracker.finish([3])
    tracker.replay_from(2)
    assert tracker.position(amendable=[3, 4]) == Position(0, 5, (0, 2, 4), replay_from=0, amendable=(3,))
    tracker.finish([0])
    tracker.finish([2])
    assert tracker.position(amendable=[1]).replay_from == 1
    assert tracker.position().replay_from == 2


def test_lookback_keeps_all_records_of_the_horizon() -> None:
    lookback = Lookback(start=100, step_ms=10)
    times = [0, 5, 12, 3, 30, 31, 8, 55, 60, 90]
    for offset, time_ms in enumerate(times, start=100):
        lookback.note(offset, time_ms)
    for horizon_ms in (0, 10, 31, 50, 61, 100):
        start = lookback.offset_of(horizon_ms)
        assert all(time_ms < horizon_ms for time_ms in times[: start - 100])
    assert lookback.offset_of(100) > 105


def test_gaps_of_transaction_markers_are_no_records() -> None:
    tracker = OffsetTracker(Position.at(3))
    assert not tracker.admit([3, 4, 7, 9])
    assert tracker.position() == Position(low=3, high=10, unfinished=(3, 4, 7, 9), replay_from=3)
    tracker.at_end(12)
    assert not tracker.admit([14])
    tracker.finish([3, 4, 7, 9])
    assert tracker.position() == Position(low=14, high=15, unfinished=(14,), replay_from=3)


def test_a_delivery_below_an_end_that_was_told_is_refused() -> None:
    tracker = OffsetTracker(Position.at(0))
    tracker.admit([0])
    tracker.at_end(5)
    with pytest.raises(ValueError, match="offset 3 was delivered when 5 was the next to come"):
        tracker.admit([3])


def test_what_is_below_the_position_is_finished() -> None:
    tracker = OffsetTracker(Position.at(0))
    tracker.admit([0, 1])
    tracker.finish([0])
    assert tracker.position().low == 1
    with pytest.raises(KeyError):
        tracker.finish([0])
