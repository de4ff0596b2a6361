"""The ledger: what is booked is committed once, when it is due, together with the positions."""

import threading
from collections.abc import Iterator

import pytest

from consumers.lanes import Lanes
from consumers.ledger import BEHIND_MS, MAX_ABORTS_IN_A_ROW, REFRESH_MS, Ledger
from pipeline.events.records import Modality
from pipeline.join.lane import Lane
from pipeline.kafka.committer import Committer
from pipeline.kafka.contract import Fresh, GroupMetadata, Message, Output, TopicPartition, Transaction
from pipeline.kafka.errors import AbortNeeded, Fatal
from pipeline.telemetry import metrics
from tests.support.fusion import SETTINGS
from tests.support.world import await_true

SPEECH = SETTINGS.topics.source(Modality.SPEECH)
WAIT_S = 30.0
NAME = "trimodal_queue_wait_seconds"
COMMIT_MIN_MS = 10


class GatedSink:
    """Commits when its gate is open, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.failures = 0
        self.committed: list[Transaction] = []
        self.closed = False

    def commit(self, transaction: Transaction) -> None:
        assert self.gate.wait(WAIT_S)
        if self.failures:
            self.failures -= 1
            raise AbortNeeded("told to fail")
        self.committed.append(transaction)

    def close(self) -> None:
        self.closed = True


class World:
    def __init__(self) -> None:
        self.sink = GatedSink()
        self.lanes = Lanes(SETTINGS)
        self.lanes.assign({TopicPartition(topic, 0): Fresh(0) for topic in SETTINGS.topics.sources})
        self.ledger = Ledger(self.lanes, Committer(self.sink), COMMIT_MIN_MS)
        self.offset = 0

    @property
    def lane(self) -> Lane:
        lane = self.lanes.get(0)
        assert lane is not None
        return lane

    def book(self) -> Message:
        message = Message(SPEECH, 0, self.offset, 0, b"k", b"12345")
        self.offset += 1
        self.lane.admit(Modality.SPEECH, [message.offset])
        self.lanes.take_in(len(message.value or b""))
        output = Output("dead-letters", b"k", b"%d" % message.offset)
        self.ledger.book(self.lane, Modality.SPEECH, message, output)
        return message

    def commit(self, now_ms: int) -> None:
        self.ledger.commit_if_due(lambda: GroupMetadata("generation"), now_ms)

    def settle(self) -> None:
        self.ledger.commit_all(lambda: GroupMetadata("generation"), 0)


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.sink.gate.set()
    world.ledger.close()
    assert world.sink.closed


def settled(world: World) -> bool:
    return world.ledger.is_settled


def outputs(world: World) -> list[list[bytes]]:
    return [[output.value for output in transaction.outputs] for transaction in world.sink.committed]


def test_an_output_and_its_position_go_in_one_transaction(world: World) -> None:
    world.book()
    world.commit(now_ms=10_000)
    world.settle()
    (transaction,) = world.sink.committed
    assert [output.value for output in transaction.outputs] == [b"0"]
    assert transaction.offsets[TopicPartition(SPEECH, 0)].offset == 1
    assert transaction.group == GroupMetadata("generation")
    assert settled(world)


def test_how_long_the_oldest_output_waited_is_shown(world: World) -> None:
    def waited() -> tuple[float, float]:
        found = [metrics.REGISTRY.get_sample_value(f"{NAME}_{part}", {"queue": "commit"}) for part in ("count", "sum")]
        return found[0] or 0.0, found[1] or 0.0

    count, total_s = waited()
    world.commit(now_ms=10_000)
    world.settle()
    assert waited() == (count, total_s), "nothing waited"
    world.sink.gate.clear()
    for now_ms in (20_000, 20_100, 20_400):
        world.book()
        world.commit(now_ms)
    world.sink.gate.set()

    def second_has_started() -> bool:
        world.commit(now_ms=20_600)
        return waited()[0] == count + 2

    await_true("the second commit has started", second_has_started)
    assert waited() == pytest.approx((count + 2, total_s + 0.5)), "none, and from 20,100 to 20,600"
    world.book()
    world.commit(now_ms=20_601)
    world.ledger.forget()
    world.book()
    world.commit(now_ms=30_000)
    assert waited() == pytest.approx((count + 3, total_s + 0.5)), "what is forgotten waits no longer"


def test_what_is_booked_meanwhile_waits_for_the_next(world: World) -> None:
    world.sink.gate.clear()
    world.book()
    world.commit(now_ms=10_000)
    world.book()
    world.book()
    world.commit(now_ms=20_000)
    assert not settled(world)
    world.sink.gate.set()
    world.settle()
    assert outputs(world) == [[b"0"], [b"1", b"2"]]


def test_commits_keep_their_distance(world: World) -> None:
    world.book()
    world.commit(now_ms=10_000)
    while not settled(world):
        world.commit(now_ms=10_000)
    world.book()
    world.commit(now_ms=10_000 + COMMIT_MIN_MS - 1)
    assert len(world.ledger._booked) == 1
    world.commit(now_ms=10_000 + COMMIT_MIN_MS)
    assert len(world.ledger._booked) == 0
    world.settle()
    assert len(world.sink.committed) == 2


def test_commits_are_further_apart_until_one_has_caught_up(world: World) -> None:
    def commit(now_ms: int, *, behind: bool = True) -> int:
        world.ledger.commit_if_due(lambda: GroupMetadata("generation"), now_ms, behind=behind)
        return len(world.ledger._booked)

    world.book()
    assert commit(now_ms=10_000) == 0
    while not settled(world):
        commit(now_ms=10_000)
    world.book()
    assert commit(now_ms=10_000 + BEHIND_MS - 2) == 1
    assert commit(now_ms=10_000 + BEHIND_MS - 1, behind=False) == 1, "what waited then still goes with the next"
    assert commit(now_ms=10_000 + BEHIND_MS, behind=False) == 0
    while not settled(world):
        commit(now_ms=10_000 + BEHIND_MS, behind=False)
    world.book()
    assert commit(now_ms=10_000 + BEHIND_MS + COMMIT_MIN_MS, behind=False) == 0


def test_positions_without_an_output_are_committed_now_and_then(world: World) -> None:
    world.settle()
    world.commit(now_ms=10_000)
    assert len(world.sink.committed) == 1, "nothing has changed since"
    world.lane.admit(Modality.SPEECH, [0])
    world.ledger.commit_if_due(lambda: GroupMetadata("generation"), REFRESH_MS - 1)
    world.ledger.commit_if_due(lambda: GroupMetadata("generation"), REFRESH_MS)
    world.settle()
    assert [len(transaction.outputs) for transaction in world.sink.committed] == [0, 0]
    assert world.sink.committed[1].offsets[TopicPartition(SPEECH, 0)].offset == 0


def test_payload_waits_until_its_commit_is_through(world: World) -> None:
    world.sink.gate.clear()
    world.book()
    assert world.lanes.waiting_bytes == 6
    world.commit(now_ms=10_000)
    world.book()
    assert world.lanes.waiting_bytes == 12, "of the record and of its dead letter"
    world.sink.gate.set()
    world.ledger.commit_all(lambda: GroupMetadata("generation"), 0)
    assert world.lanes.waiting_bytes == 0


def test_what_is_forgotten_is_not_let_go_later(world: World) -> None:
    world.book()
    world.ledger.forget()
    world.lanes.clear()
    world.lanes.assign({TopicPartition(topic, 0): Fresh(0) for topic in SETTINGS.topics.sources})
    world.settle()
    assert world.lanes.waiting_bytes == 0


def test_an_aborted_commit_is_told_once(world: World) -> None:
    aborted = metrics.TRANSACTIONS.labels("aborted")._value.get()
    world.sink.failures = 1
    world.book()
    with pytest.raises(AbortNeeded, match="told to fail"):
        world.settle()
    assert metrics.TRANSACTIONS.labels("aborted")._value.get() == aborted + 1
    assert settled(world)


def test_forgetting_drops_what_is_booked_and_waits_for_what_is_on_its_way(world: World) -> None:
    world.sink.failures = 1
    world.book()
    world.commit(now_ms=10_000)
    world.book()
    world.ledger.forget()
    assert settled(world)
    assert outputs(world) == []


def test_too_many_aborts_in_a_row_end_the_process(world: World) -> None:
    world.sink.failures = MAX_ABORTS_IN_A_ROW + 1
    for _ in range(MAX_ABORTS_IN_A_ROW):
        world.book()
        with pytest.raises(AbortNeeded):
            world.settle()
    world.book()
    with pytest.raises(Fatal, match=r"21 transactions in a row were aborted. The last: told to fail"):
        world.settle()


def test_a_commit_in_between_starts_the_count_anew(world: World) -> None:
    committed = metrics.TRANSACTIONS.labels("committed")._value.get()
    for failures in (MAX_ABORTS_IN_A_ROW, MAX_ABORTS_IN_A_ROW):
        world.sink.failures = failures
        for _ in range(failures):
            world.book()
            with pytest.raises(AbortNeeded):
                world.settle()
        world.book()
        world.settle()
    assert metrics.TRANSACTIONS.labels("committed")._value.get() == committed + 2
