"""What the fusion consumer does when something takes long: its end, the model, a commit."""

import threading
import time
from collections.abc import Sequence

import pytest

from consumers import fusion as fusion_module
from consumers.ledger import BEHIND_MS
from consumers.outputs import Moment
from pipeline.events.records import Modality
from pipeline.join.lane import Lane
from pipeline.join.outcomes import JoinRules
from pipeline.join.tracker import Position
from pipeline.model.samples import Sample
from tests.support.events import StubPredictor
from tests.support.fusion import (
    NOW_MS,
    SETTINGS,
    Beside,
    accounted,
    expected,
    predictions,
    publish,
    replica,
    run_to_balance,
    run_until,
)
from tests.support.memory import MemoryBroker
from tests.support.stepped import SteppedCommitter, SteppedInference

SPEECH, IMAGE, SENSOR = Modality


def test_stopping_finishes_what_is_in_flight(broker: MemoryBroker) -> None:
    for number in range(10):
        publish(broker, b"k%d" % number, SPEECH, IMAGE, SENSOR)
    stop = threading.Event()

    def stop_when_read(samples: Sequence[Sample]) -> bool:
        stop.set()
        return False

    one = replica(broker, StubPredictor(stop_when_read))
    one.consumer.run(stop)
    lane = Lane(JoinRules(1, 0, 1), dict.fromkeys(Modality, Position.at(0)))
    assert accounted(broker) == expected(broker)
    assert broker.members == [], "it has left the group"
    assert broker.closed_sinks == 1
    with pytest.raises(RuntimeError, match="after shutdown"):
        one.inference.submit([Moment(lane, b"late", (), (), amends=False)])


def test_stopping_leaves_to_the_next_owner_what_takes_too_long(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusion_module, "FINISH_MS", 200)
    for number in range(40):
        publish(broker, b"k%d" % number, SPEECH, IMAGE, SENSOR)
    stop = threading.Event()

    def slow(samples: Sequence[Sample]) -> bool:
        stop.set()
        time.sleep(0.05)
        return False

    replica(broker, StubPredictor(slow)).consumer.run(stop)
    assert 0 < len(predictions(broker)) < 40
    last = replica(broker)
    run_to_balance(broker, last)
    last.crash()


def test_with_as_many_batches_as_the_model_takes_a_step_waits_for_an_answer(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusion_module, "FULL_WAIT_S", 30.0)
    for number in range(40):
        publish(broker, b"k%d" % number, SPEECH, IMAGE, SENSOR)
    answer = threading.Event()
    one = replica(broker, StubPredictor(lambda samples: not answer.wait(30)))
    threading.Timer(0.3, answer.set).start()
    one.step()
    assert answer.is_set()
    run_to_balance(broker, one)
    one.crash()


def test_a_commit_that_is_slow_holds_the_source_back(broker: MemoryBroker) -> None:
    settings = SETTINGS.model_copy(update={"join": SETTINGS.join.model_copy(update={"max_bytes": 20_000})})
    one = replica(broker, settings=settings, beside=Beside(committer=SteppedCommitter))
    for number in range(3_000):
        broker.publish("speech", b"k%d" % number, bytes(1_000))
    for _ in range(100):
        one.step()
    assert 20_000 < one.waiting_bytes < 1_000_000, "no more than one poll brings"
    committer = one.committer
    assert isinstance(committer, SteppedCommitter)
    while accounted(broker) != expected(broker):
        committer.advance()
        one.step()
    one.crash()


def test_what_runs_ahead_is_held_back_until_its_partners_come(broker: MemoryBroker) -> None:
    join = SETTINGS.join.model_copy(update={"max_bytes": 100_000, "idle_ms": 60_000})
    settings = SETTINGS.model_copy(update={"join": join})
    publish(broker, b"first", SPEECH, IMAGE, SENSOR)
    one = replica(broker, settings=settings)
    keys = [b"k%d" % number for number in range(40)]
    for number, key in enumerate(keys):
        publish(broker, key, SPEECH, at_ms=NOW_MS + number)
    run_until(lambda: {where.topic for where in one.consumer._lanes.paused} == {"speech"}, one)
    for number, key in enumerate(keys):
        publish(broker, key, IMAGE, SENSOR, at_ms=NOW_MS + number)
    run_to_balance(broker, one)
    assert not one.consumer._lanes.paused
    one.crash()


@pytest.mark.parametrize(
    ("batch_size", "poll"),
    [
        pytest.param(4, 1_000, id="whole batches wait for the model"),
        pytest.param(1_000, 6, id="polls bring as much as they are asked for"),
    ],
)
def test_who_is_behind_commits_less_often(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch, batch_size: int, poll: int
) -> None:
    now_ms = 10_000
    monkeypatch.setattr(fusion_module, "monotonic_ms", lambda: now_ms)
    serving = SETTINGS.serving.model_copy(update={"batch_size": batch_size})
    settings = SETTINGS.model_copy(update={"serving": serving})
    for number in range(40):
        publish(broker, b"k%d" % number, SPEECH, IMAGE, SENSOR)
    one = replica(broker, settings=settings, beside=Beside(SteppedInference, SteppedCommitter))
    monkeypatch.setattr(one.consumer._poll_size, "records", lambda *_, **__: poll)
    committer = one.committer
    assert isinstance(committer, SteppedCommitter)

    def committed_by_a_step() -> int:
        before = len(predictions(broker))
        one.step()
        committer.settle(wait=True)
        return len(predictions(broker)) - before

    while not committed_by_a_step():
        now_ms += BEHIND_MS
    assert committed_by_a_step() == 0
    now_ms += BEHIND_MS - 1
    assert committed_by_a_step() == 0
    now_ms += 1
    assert committed_by_a_step() > 0
    while accounted(broker) != expected(broker):
        now_ms += BEHIND_MS
        committed_by_a_step()
    publish(broker, b"one more", SPEECH, IMAGE, SENSOR)
    assert any(committed_by_a_step() for _ in range(10)), "nothing else waits, so it does not wait either"
    one.crash()
