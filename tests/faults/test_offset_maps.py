"""Offset maps near their limit, over a smaller one, and of somebody else."""

import base64
from collections.abc import Callable

import pytest

from pipeline.join import offset_map
from pipeline.kafka.contract import Committed, TopicPartition
from pipeline.kafka.groups import reset
from pipeline.kafka.offsets import OffsetQueries
from tests.faults.conftest import NewScenario
from tests.faults.scenario import stopped
from tests.support.damage import damaged
from tests.support.world import WAIT_S


def foreign(_text: str) -> str:
    return "somebody else's"


def newer(text: str) -> str:
    raw = base64.b85decode(text.removeprefix(offset_map.PREFIX))
    return offset_map.PREFIX + base64.b85encode(bytes([offset_map.VERSION + 1]) + raw[1:]).decode()


@pytest.mark.parametrize("change", [damaged, foreign, newer])
@pytest.mark.slow_faults
def test_unreadable_map(scenario: NewScenario, change: Callable[[str], str]) -> None:
    here = scenario()
    replica = here.replica("a")
    here.publish_some(30)
    here.conclude()
    assert stopped(replica) == 0
    here.await_empty_group()
    where = TopicPartition(here.settings.topics.sources[1], 2)
    committed = OffsetQueries(here.settings.kafka, "test").committed(here.name, [where])[where]
    reset(here.settings.kafka, here.name, {where: Committed(committed.offset, change(committed.metadata))})
    here.note(f"the map of {where} is {change.__name__}")
    assert here.replica("a").wait(timeout=WAIT_S) != 0
    assert f"The metadata committed for {where}" in here.log("a")
    here.await_empty_group()
    assert here.run("pipeline.cli", "offsets", "show").returncode == 1
    assert here.run("pipeline.cli", "offsets", "reset", "--to", "committed", "--yes").returncode == 0
    here.publish_some(30, seed=2)
    here.replica("a")
    here.conclude()
