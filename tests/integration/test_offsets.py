"""Offset maps that cannot be read, and the way out."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.join import offset_map
from pipeline.kafka.auditing import run_audit
from pipeline.kafka.contract import Committed, TopicPartition
from pipeline.kafka.errors import Fatal
from pipeline.kafka.groups import reset
from pipeline.kafka.offsets import OffsetQueries
from tests.integration.test_exactly_once import settled, stopped
from tests.support.damage import damaged
from tests.support.world import WAIT_S, World

pytestmark = pytest.mark.stack


@pytest.fixture
def world(bootstrap_servers: str, tmp_path: Path) -> Iterator[World]:
    with World(bootstrap_servers, tmp_path) as world:
        yield world


def trimodal(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    return world.run("pipeline.cli", *arguments)


def with_a_damaged_map(world: World) -> TopicPartition:
    """Runs a replica, stops it, and overwrites one of its maps."""
    records = world.publish(30)
    replica = world.replica("a")
    settled(world, records)
    assert stopped(replica) == 0
    world.await_empty_group()
    where = TopicPartition(world.settings.topics.sources[1], 2)
    committed = OffsetQueries(world.settings.kafka, "test").committed(world.name, [where])[where]
    reset(world.settings.kafka, world.name, {where: Committed(committed.offset, damaged(committed.metadata))})
    return where


def test_a_damaged_map_stops_the_consumer_and_can_be_reset(world: World) -> None:
    where = with_a_damaged_map(world)
    replica = world.replica("a")
    assert replica.wait(timeout=WAIT_S) != 0
    assert f"The metadata committed for {where}" in world.log("a")
    assert "trimodal offsets reset" in world.log("a")
    world.await_empty_group()

    shown = trimodal(world, "offsets", "show")
    assert shown.returncode == 1
    heading, *rows = [line.split() for line in shown.stdout.splitlines() if line.strip()][:10]
    assert heading == ["partition", "committed", "end", "map", "of", "limit", "unfinished", "oldest"]
    assert len(rows) == 9
    for row in rows:
        _, committed, end, characters, of_limit, unfinished = row
        assert committed == end
        assert 0 < int(characters) < 100
        assert 0 < float(of_limit.removesuffix("%")) < 3
        assert unfinished == ("unreadable" if row[0] == str(where) else "0")
    assert "unreadable" in shown.stdout
    assert f"The metadata committed for {where}" in shown.stdout

    assert trimodal(world, "offsets", "reset", "--to", "committed", "--yes").returncode == 0
    assert trimodal(world, "offsets", "show").returncode == 0
    records = 90 + world.publish(10, seed=2)
    world.replica("a")
    settled(world, records)


def test_a_group_that_is_at_work_is_not_reset(world: World) -> None:
    records = world.publish(10)
    world.replica("a")
    settled(world, records)
    where = TopicPartition(world.settings.topics.sources[0], 0)
    with pytest.raises(Fatal, match="Stop all its replicas first"):
        reset(world.settings.kafka, world.name, {where: Committed(0, offset_map.PREFIX)})
    assert run_audit(world.settings).balances
