"""What the transactional sink does when its client fails; the client is a script."""

from collections.abc import Callable, Iterator
from itertools import count
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from pipeline.kafka import sink as module
from pipeline.kafka.contract import Committed, GroupMetadata, Output, TopicPartition, Transaction
from pipeline.kafka.errors import AbortNeeded, Fatal
from pipeline.kafka.sink import MAX_NEW_PRODUCERS, KafkaSink
from pipeline.settings import KafkaSettings, TopicSettings

TRANSACTION = Transaction(
    [Output("predictions", b"k", b"v")], {TopicPartition("speech", 0): Committed(1, "")}, GroupMetadata(None)
)


TIMED_OUT = KafkaError(KafkaError._TIMED_OUT, "told to fail", retriable=True)
FENCED = KafkaError(KafkaError._FENCED, "told to fail", fatal=True)
ABORT = KafkaError(KafkaError.INVALID_TXN_STATE, "told to fail", txn_requires_abort=True)


class Script:
    """Producers that fail at the named calls, each failure once, and note what they are asked."""

    def __init__(self, **failures: list[KafkaError]) -> None:
        self.failures = failures
        self.calls: list[str] = []
        self.producers = 0

    def producer(self, _properties: object) -> "ScriptedProducer":
        self.producers += 1
        return ScriptedProducer(self)

    def call(self, name: str) -> None:
        self.calls.append(name)
        if planned := self.failures.get(name):
            raise KafkaException(planned.pop(0))


class ScriptedProducer:
    def __init__(self, script: Script) -> None:
        self._script = script

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*_arguments: object, **_options: object) -> int:
            self._script.call(name)
            return 0

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every look at the clock finds it a minute later, so that no call is tried twice; notes who sleeps how long."""
    slept: list[float] = []
    ticks = count(0, 60)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(ticks), sleep=slept.append))
    return slept


NewSink = Callable[[Script], KafkaSink]


@pytest.fixture
def sink_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[NewSink]:
    """Makes sinks over scripts, and closes them: a watchdog's thread would outlive its test."""
    made: list[KafkaSink] = []

    def make(script: Script) -> KafkaSink:
        monkeypatch.setattr(module, "Producer", script.producer)
        made.append(KafkaSink(KafkaSettings(replica="a"), TopicSettings()))
        return made[-1]

    yield make
    for sink in made:
        sink.close()


def test_an_error_that_passes_is_tried_again(sink_of: NewSink) -> None:
    script = Script(send_offsets_to_transaction=[TIMED_OUT], commit_transaction=[TIMED_OUT])
    sink_of(script).commit(TRANSACTION)
    assert (script.calls.count("send_offsets_to_transaction"), script.calls.count("commit_transaction")) == (2, 2)
    assert script.producers == 1


def test_an_abort_comes_after_a_flush_and_keeps_the_producer(sink_of: NewSink) -> None:
    script = Script(commit_transaction=[ABORT])
    sink = sink_of(script)
    with pytest.raises(AbortNeeded):
        sink.commit(TRANSACTION)
    assert script.calls[-2:] == ["flush", "abort_transaction"]
    assert script.producers == 1
    sink.commit(TRANSACTION)


@pytest.mark.usefixtures("clock")
def test_a_commit_whose_end_is_unknown_needs_a_new_producer(sink_of: NewSink) -> None:
    script = Script(commit_transaction=[TIMED_OUT])
    with pytest.raises(AbortNeeded, match="read from the committed offsets"):
        sink_of(script).commit(TRANSACTION)
    assert script.producers == 2


@pytest.mark.usefixtures("clock")
def test_while_no_broker_answers_it_waits(sink_of: NewSink) -> None:
    script = Script(send_offsets_to_transaction=[TIMED_OUT])
    sink = sink_of(script)
    script.failures["init_transactions"] = [TIMED_OUT] * 9
    with pytest.raises(AbortNeeded):
        sink.commit(TRANSACTION)
    assert script.calls.count("init_transactions") == 11
    sink.commit(TRANSACTION)


def test_two_of_one_name_do_not_fence_each_other_for_ever(sink_of: NewSink, clock: list[float]) -> None:
    script = Script(commit_transaction=[FENCED] * (MAX_NEW_PRODUCERS + 1))
    sink = sink_of(script)
    for _ in range(MAX_NEW_PRODUCERS):
        with pytest.raises(AbortNeeded):
            sink.commit(TRANSACTION)
    with pytest.raises(Fatal, match=r"another process runs as trimodal-fusion-a, give each its own --replica"):
        sink.commit(TRANSACTION)
    assert clock == [0, 1, 2, 3, 4], "each waits longer for the group to end the older one"
