"""What an at-least-once program shows of itself: lag, assignment and commits."""

from collections.abc import Mapping, Sequence

import pytest

from consumers.commits import STUCK_S
from consumers.watched import WatchedSubscriber
from pipeline.kafka.contract import Message, TopicPartition
from pipeline.telemetry.health import Finding, Health
from pipeline.telemetry.metrics import REGISTRY

WHERE = TopicPartition("predictions", 1)
RECORD = Message(*WHERE, offset=4, timestamp_ms=0, key=None, value=b"")


class Member:
    """A member of a group that is given what it is to deliver."""

    def __init__(self) -> None:
        self.generation = 3
        self.rebalances = False
        self.here: list[Message] = []
        self.held: set[TopicPartition] | None = None
        self.calls: list[object] = []

    def poll(self, count: int, timeout_s: float) -> Sequence[Message]:
        self.generation += self.rebalances
        self.rebalances = False
        here, self.here = self.here[:count], self.here[count:]
        return here

    def commit(self, following: Mapping[TopicPartition, int]) -> None:
        self.calls.append(dict(following))

    def assigned(self) -> set[TopicPartition] | None:
        return self.held

    def backlog(self) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(self.held or (), 1_234)

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")

    def close(self) -> None:
        self.calls.append("close")


class World:
    """A watched member whose clock stands until it is set."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.member = Member()
        self.health = Health()
        self.watched = WatchedSubscriber(self.member, self.health, "Kafka or the sea", lambda: self.now_s)

    def after(self, seconds: float, *messages: Message) -> None:
        """Lets time pass, and delivers."""
        self.now_s += seconds
        self.member.here += messages
        assert list(self.watched.poll(10, 0)) == list(messages)

    def found(self, name: str) -> Finding:
        return self.health.deep().findings[name]


@pytest.fixture
def world() -> World:
    return World()


def test_everything_is_passed_on(world: World) -> None:
    world.watched.pause()
    world.watched.resume()
    world.watched.commit({WHERE: 5})
    world.watched.close()
    assert world.member.calls == ["pause", "resume", {WHERE: 5}, "close"]
    assert world.watched.generation == 3


def test_assignment_and_lag_are_sampled_once_a_second(world: World) -> None:
    world.after(0)
    assert world.found("assignment") == Finding(ok=False, says="The group has not handed out the partitions yet.")
    world.member.held = {WHERE}
    world.after(0.9)
    assert not world.found("assignment").ok
    world.after(0.1)
    assert world.found("assignment") == Finding(ok=True, says="1 partitions are held.")
    assert world.found("lag").says == "1,234 records are still to be read."
    labels = {"topic": "predictions", "partition": "1"}
    assert REGISTRY.get_sample_value("trimodal_consumer_lag_records", labels) == 1_234


def test_records_are_counted(world: World) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("trimodal_records_total", {"topic": "predictions"}) or 0.0

    before = counted()
    world.after(0, RECORD, RECORD)
    assert counted() == before + 2


def test_what_is_read_and_not_committed_is_no_good_sign(world: World) -> None:
    world.after(1_000)
    assert world.found("commits") == Finding(ok=True, says="None has gone through yet.")
    world.after(1, RECORD)
    world.after(STUCK_S - 1)
    assert world.found("commits").ok
    world.after(1)
    assert world.found("commits") == Finding(
        ok=False,
        says="None has gone through yet, and what was read last waits: see the log for what Kafka or the sea says.",
    )
    world.watched.commit({})
    world.after(1)
    assert not world.found("commits").ok
    world.watched.commit({WHERE: 5})
    world.after(1)
    assert world.found("commits") == Finding(ok=True, says="The last one went through 1.0 s ago.")
    assert REGISTRY.get_sample_value("trimodal_last_commit_timestamp_seconds")
    world.after(1_000)
    assert world.found("commits").ok, "nothing was read since"


def test_what_was_read_before_a_rebalance_is_for_its_new_owner_to_commit(world: World) -> None:
    world.after(1, RECORD)
    world.member.rebalances = True
    world.after(1)
    world.after(STUCK_S)
    assert world.found("commits").ok
    world.after(1, RECORD)
    world.after(STUCK_S)
    assert not world.found("commits").ok
