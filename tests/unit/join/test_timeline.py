"""Windows come out in the order of the steps of event time, and not before theirs has come."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from pipeline.join.timeline import Timeline


@dataclass
class Item:
    anchor_ms: int


STEP_MS = 16
TIMES = st.integers(-50, 200)


@given(st.lists(st.one_of(st.tuples(st.just("add"), TIMES), st.tuples(st.just("pop"), TIMES)), max_size=60))
def test_it_is_a_list_sorted_by_steps(actions: list[tuple[str, int]]) -> None:
    timeline: Timeline[Item] = Timeline(STEP_MS)
    model: list[int] = []
    for action, time_ms in actions:
        if action == "add":
            timeline.add([Item(time_ms)])
            model.append(time_ms)
        else:
            due = sorted(anchor_ms for anchor_ms in model if anchor_ms < time_ms)
            model = [anchor_ms for anchor_ms in model if anchor_ms >= time_ms]
            popped = [item.anchor_ms for item in timeline.pop_before(time_ms)]
            assert sorted(popped, key=lambda anchor_ms: anchor_ms // STEP_MS) == popped
            assert sorted(popped) == due
        assert len(timeline) == len(model)


def test_items_of_one_step_come_out_as_they_went_in() -> None:
    timeline: Timeline[Item] = Timeline(step_ms=10)
    items = [Item(5), Item(3), Item(15), Item(5)]
    timeline.add(items)
    popped = timeline.pop_before(16)
    assert [id(item) for item in popped] == [id(items[place]) for place in (0, 1, 3, 2)]
