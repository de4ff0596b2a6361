"""Offset maps near their limit, over a smaller one, and of somebody else."""

import base64
import random
import time
from collections.abc import Callable, Iterator

import pytest

from pipeline.events.records import Modality, Reason
from pipeline.join import offset_map
from pipeline.kafka.contract import Committed, TopicPartition
from pipeline.kafka.groups import reset
from pipeline.kafka.offsets import OffsetQueries
from pipeline.stack import StackAddresses
from tests.faults.conftest import NewScenario
from tests.faults.scenario import Scenario, alive_for
from tests.faults.watching import committed, metric
from tests.support.damage import damaged
from tests.support.events import encoded
from tests.support.stack import new_stack, started
from tests.support.world import WAIT_S, await_true

SPEECH, *OTHERS = Modality
FOR_LONG = {"window_ms": 600_000, "idle_ms": 600_000, "max_lead_ms": 600_000, "max_bytes": 4 * 2**30}
"""Nothing but the maps holds back what runs ahead."""


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
    here.stop(replica)
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


@pytest.fixture
def sparing_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackAddresses]:
    """A broker that allows a quarter of the metadata that brokers usually allow."""
    stack = new_stack(tmp_path_factory.mktemp("sparing"))
    (stack.directory / "kafka.properties").write_text("offset.metadata.max.bytes=1024\n")
    try:
        yield started(stack)
    finally:
        stack.down(wipe=True)


def publish_half_poison(here: Scenario, count: int) -> list[tuple[bytes, int]]:
    """Publishes speech of which every other record, in no regular order, waits; returns what waits, with its times."""
    rng = random.Random(1)
    first_ms = time.time_ns() // 1_000_000
    waiting = []
    with here.publishing() as send:
        for number in range(count):
            key, event_time_ms = b"key-%d" % number, first_ms + number // 10
            if rng.random() < 0.5:
                waiting.append((key, event_time_ms))
                send(SPEECH, key, encoded(SPEECH, event_time_ms))
            else:
                send(SPEECH, key, b"poison")
    here.count(count)
    return waiting


def publish_partners(here: Scenario, waiting: list[tuple[bytes, int]]) -> None:
    """Publishes what the speech waits for, and one triple more."""
    last_ms = waiting[-1][1] + 1
    with here.publishing() as send:
        for key, event_time_ms in waiting:
            for modality in OTHERS:
                send(modality, key, encoded(modality, event_time_ms))
        for modality in Modality:
            send(modality, b"last", encoded(modality, last_ms))
    here.count(len(OTHERS) * len(waiting) + 3)


def drive_to_its_limit(here: Scenario, limit: int, count: int) -> None:
    """Speech runs ahead until its map is three quarters full, is held back there, and goes on with its partners."""
    replica = here.replica("a")
    waiting = publish_half_poison(here, count)
    where = TopicPartition(here.settings.topics.sources[SPEECH], 0)
    await_true("the map is nearly full", lambda: "offset map nearly full" in here.log("a"))
    await_true("speech is held back", lambda: metric(here, "a", "trimodal_paused_partitions") == 1)
    alive_for(replica, 2)
    position, characters = committed(here)[where]
    alive_for(replica, 2)
    assert committed(here)[where] == (position, characters)
    assert position.high < count
    assert 0.75 * limit < characters <= limit
    with here.fault(f"{where} is held back at {position.high} of {count} with a map of {characters} characters"):
        publish_partners(here, waiting)
    report = here.conclude()
    assert report.predictions == len(waiting) + 1
    assert report.dead_letters == {Reason.UNDECODABLE: count - len(waiting)}
    assert metric(here, "a", "trimodal_paused_partitions") == 0
    here.stop(replica)


@pytest.mark.slow_faults
def test_map_driven_to_three_quarters(scenario: NewScenario) -> None:
    drive_to_its_limit(scenario(partitions=1, **FOR_LONG), offset_map.MAX_CHARACTERS, 30_000)


@pytest.mark.slow_faults
def test_map_on_a_broker_that_allows_a_quarter(scenario: NewScenario, sparing_broker: StackAddresses) -> None:
    here = scenario(sparing_broker.bootstrap_servers, partitions=1, **FOR_LONG)
    drive_to_its_limit(here, 1_023, 7_500)
