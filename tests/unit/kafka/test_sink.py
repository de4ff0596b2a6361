"""What the transactional sink does when its client fails; the client is a script."""

from collections.abc import Callable
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


def failure(code: int, *, abort: bool = False, fatal: bool = False, retriable: bool = False) -> KafkaException:
    return KafkaException(KafkaError(code, "told to fail", fatal, retriable, abort))


TIMED_OUT = failure(KafkaError._TIMED_OUT, retriable=True)
FENCED = failure(KafkaError._FENCED, fatal=True)
ABORT = failure(KafkaError.INVALID_TXN_STATE, abort=True)


class Script:
    """Producers that fail at the named calls, each failure once, and note what they are asked."""

    def __init__(self, **failures: list[KafkaException]) -> None:
        self.failures = failures
        self.calls: list[str] = []
        self.producers = 0

    def producer(self, _properties: object) -> "ScriptedProducer":
        self.producers += 1
        return ScriptedProducer(self)

    def call(self, name: str) -> None:
        self.calls.append(name)
        if planned := self.failures.get(name):
            raise planned.pop(0)


class ScriptedProducer:
    def __init__(self, script: Script) -> None:
        self._script = script

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*_arguments: object, **_options: object) -> int:
            self._script.call(name)
            return 0

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock finds it a minute later, so that no call is tried twice."""
    ticks = iter(range(0, 10**9, 60))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(ticks)))


def sink_of(script: Script, monkeypatch: pytest.MonkeyPatch) -> KafkaSink:
    monkeypatch.setattr(module, "Producer", script.producer)
    return KafkaSink(KafkaSettings(replica="a"), TopicSettings())


def test_an_error_that_passes_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(send_offsets_to_transaction=[TIMED_OUT], commit_transaction=[TIMED_OUT])
    sink_of(script, monkeypatch).commit(TRANSACTION)
    assert (script.calls.count("send_offsets_to_transaction"), script.calls.count("commit_transaction")) == (2, 2)
    assert script.producers == 1


def test_an_abort_comes_after_a_flush_and_keeps_the_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(commit_transaction=[ABORT])
    sink = sink_of(script, monkeypatch)
    with pytest.raises(AbortNeeded):
        sink.commit(TRANSACTION)
    assert script.calls[-2:] == ["flush", "abort_transaction"]
    assert script.producers == 1
    sink.commit(TRANSACTION)


@pytest.mark.usefixtures("clock")
def test_a_commit_whose_end_is_unknown_needs_a_new_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(commit_transaction=[TIMED_OUT])
    with pytest.raises(AbortNeeded, match="read from the committed offsets"):
        sink_of(script, monkeypatch).commit(TRANSACTION)
    assert script.producers == 2


@pytest.mark.usefixtures("clock")
def test_while_no_broker_answers_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(send_offsets_to_transaction=[TIMED_OUT])
    sink = sink_of(script, monkeypatch)
    script.failures["init_transactions"] = [TIMED_OUT] * 9
    with pytest.raises(AbortNeeded):
        sink.commit(TRANSACTION)
    assert script.calls.count("init_transactions") == 11
    sink.commit(TRANSACTION)


def test_two_of_one_name_do_not_fence_each_other_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(commit_transaction=[FENCED] * (MAX_NEW_PRODUCERS + 1))
    sink = sink_of(script, monkeypatch)
    for _ in range(MAX_NEW_PRODUCERS):
        with pytest.raises(AbortNeeded):
            sink.commit(TRANSACTION)
    with pytest.raises(Fatal, match=r"another process runs as trimodal-fusion-a, give each its own --replica"):
        sink.commit(TRANSACTION)
