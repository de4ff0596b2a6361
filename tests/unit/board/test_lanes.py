from consumers.board.lanes import CELLS, MAX_LANES, LanesView, lanes
from pipeline.join import offset_map
from pipeline.join.tracker import Position
from pipeline.kafka.contract import Committed, TopicPartition

SPEECH = TopicPartition("speech", 0)
LIMIT = 4_095


def committed(position: Position, where: TopicPartition = SPEECH) -> Committed:
    return Committed(position.low, offset_map.encode(position, where.topic, where.partition))


def seen(position: Position, end: int) -> LanesView:
    return lanes("group", {SPEECH: committed(position)}, {}, {SPEECH: end}, LIMIT)


def test_behind_is_what_has_no_outcome_yet() -> None:
    view = seen(Position(low=10, high=20, unfinished=(10, 12), replay_from=5), end=25)
    (partition,) = view.lanes[0].partitions
    assert (partition.committed, partition.end, partition.unfinished, partition.behind) == (10, 25, 2, 7)
    assert (view.behind, view.lag, view.count) == (7, 15, 1)
    assert partition.share == len(committed(Position(10, 20, (10, 12), 5)).metadata) / LIMIT


def test_cells_show_where_the_unfinished_records_are() -> None:
    few = seen(Position(low=10, high=14, unfinished=(10, 13), replay_from=5), end=14)
    assert few.lanes[0].partitions[0].cells == "9009"
    many = seen(Position(low=0, high=3_200, unfinished=(0, *range(1_600, 1_700), 3_199), replay_from=0), end=3_200)
    cells = many.lanes[0].partitions[0].cells
    assert len(cells) == CELLS
    assert cells == "1" + "0" * 15 + "9" + "0" * 14 + "1"


def test_all_finished_has_no_cells() -> None:
    assert seen(Position.at(7), end=7).lanes[0].partitions[0].cells == ""


def test_nothing_committed_is_all_behind() -> None:
    view = lanes("group", {}, {SPEECH: 3}, {SPEECH: 10}, LIMIT)
    (partition,) = view.lanes[0].partitions
    assert (partition.committed, partition.behind, view.lag) == (None, 7, 7)


def test_a_foreign_map_is_a_problem_and_the_others_are_shown() -> None:
    image = TopicPartition("image", 0)
    known = {SPEECH: Committed(4, "something else"), image: committed(Position.at(2), image)}
    speech, other = lanes("group", known, {}, {SPEECH: 9, image: 2}, LIMIT).lanes[0].partitions
    assert "is not an offset map" in speech.problem
    assert speech.behind == 5
    assert other.problem == ""


def test_of_many_lanes_those_furthest_behind_are_shown_in_order() -> None:
    ends = {TopicPartition("speech", number): number for number in range(100)}
    view = lanes("group", {}, dict.fromkeys(ends, 0), ends, LIMIT)
    assert [lane.number for lane in view.lanes] == list(range(100 - MAX_LANES, 100))
    assert (view.count, view.behind) == (100, 4_950)
