"""What the transactional sink does when its client fails; the client is a script."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from types import SimpleNamespace
from unittest import mock

import pytest
from confluent_kafka import KafkaError, KafkaException

from pipeline.kafka import sink as module
from pipeline.kafka.contract import Committed, GroupMetadata, Output, TopicPartition, Transaction
from pipeline.kafka.errors import AbortNeeded, Fatal
from pipeline.kafka.sink import MAX_NEW_PRODUCERS, KafkaSink
from pipeline.settings import KafkaSettings, TopicSettings
from pipeline.telemetry.watchdog import Watchdog

TRANSACTION = Transaction(
    [Output("predictions", b"k", b"v", (("h", b"1"),))],
    {TopicPartition("speech", 0): Committed(1, "")},
    GroupMetadata(None),
)


TIMED_OUT = KafkaError(KafkaError._TIMED_OUT, "told to fail", retriable=True)
FENCED = KafkaError(KafkaError._FENCED, "told to fail", fatal=True)
ABORT = KafkaError(KafkaError.INVALID_TXN_STATE, "told to fail", txn_requires_abort=True)


class Script:
    """Producers that fail at the named calls, each failure once, and note what they are asked."""

    def __init__(self, **failures: Sequence[KafkaError | type[BufferError]]) -> None:
        self.failures = {name: list(planned) for name, planned in failures.items()}
        self.calls: list[str] = []
        self.produced: list[tuple[object, ...]] = []
        self.producers = 0

    def producer(self, _properties: object) -> "ScriptedProducer":
        self.producers += 1
        return ScriptedProducer(self)

    def call(self, name: str) -> None:
        self.calls.append(name)
        if planned := self.failures.get(name):
            failure = planned.pop(0)
            raise KafkaException(failure) if isinstance(failure, KafkaError) else failure


class ScriptedProducer:
    def __init__(self, script: Script) -> None:
        self._script = script

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*arguments: object, **options: object) -> int:
            self._script.call(name)
            if name == "produce":
                self._script.produced.append((*arguments, *options.values()))
            return 0

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every look at the clock finds it a minute later, so that no call is tried twice; notes who sleeps how long."""
    slept: list[float] = []
    ticks = count(0, 60)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(ticks), sleep=slept.append))
    return slept


class NotedWatchdog(Watchdog):
    """Notes what it is to watch, and whether it was closed."""

    def __init__(self) -> None:
        self.watched: list[str] = []
        self.is_closed = False

    @contextmanager
    def watching(self, doing: str) -> Iterator[None]:
        self.watched.append(doing)
        yield

    def close(self) -> None:
        self.is_closed = True


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


def test_a_commit_takes_its_steps_in_order(sink_of: NewSink) -> None:
    script = Script()
    sink = sink_of(script)
    sink.commit(TRANSACTION)
    assert script.calls == [
        "init_transactions",
        "begin_transaction",
        "produce",
        "poll",
        "send_offsets_to_transaction",
        "commit_transaction",
    ]
    assert script.produced == [("predictions", b"v", b"k", [("h", b"1")])]


def test_while_the_queue_is_full_it_is_emptied(sink_of: NewSink) -> None:
    script = Script(produce=[BufferError, BufferError])
    sink_of(script).commit(TRANSACTION)
    assert script.calls[2:8] == ["produce", "poll", "produce", "poll", "produce", "poll"]
    assert len(script.produced) == 1


def test_an_output_that_is_refused_needs_an_abort(sink_of: NewSink) -> None:
    script = Script(produce=[KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, "too large")])
    with pytest.raises(AbortNeeded, match="While publishing to predictions: too large"):
        sink_of(script).commit(TRANSACTION)
    assert script.calls[-2:] == ["flush", "abort_transaction"]
    assert "send_offsets_to_transaction" not in script.calls


def test_an_abort_that_turns_fatal_needs_a_new_producer(sink_of: NewSink) -> None:
    script = Script(commit_transaction=[ABORT], abort_transaction=[KafkaError(KafkaError.INVALID_TXN_STATE)])
    with pytest.raises(AbortNeeded):
        sink_of(script).commit(TRANSACTION)
    assert script.producers == 2


def test_each_call_is_watched_and_closing_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    script, watchdog = Script(commit_transaction=[ABORT]), NotedWatchdog()
    monkeypatch.setattr(module, "Producer", script.producer)
    sink = KafkaSink(KafkaSettings(), TopicSettings(), watchdog)
    with pytest.raises(AbortNeeded):
        sink.commit(TRANSACTION)
    sink.close()
    assert watchdog.watched == [
        "taking the transactional id",
        "beginning a transaction",
        "sending offsets to the transaction",
        "committing",
        "flushing before an abort",
        "aborting",
        "closing the transactional producer",
    ]
    assert script.calls[-1] == "flush"
    assert watchdog.is_closed


@pytest.mark.usefixtures("clock")
def test_a_commit_in_between_starts_the_count_of_producers_anew(sink_of: NewSink) -> None:
    script = Script()
    sink = sink_of(script)
    for _ in range(2 * MAX_NEW_PRODUCERS):
        script.failures["commit_transaction"] = [FENCED]
        with pytest.raises(AbortNeeded):
            sink.commit(TRANSACTION)
        sink.commit(TRANSACTION)


def test_the_watchdog_waits_beyond_the_longest_call(monkeypatch: pytest.MonkeyPatch) -> None:
    made = mock.Mock(return_value=NotedWatchdog())
    monkeypatch.setattr(module, "Producer", Script().producer)
    monkeypatch.setattr(module, "Watchdog", made)
    KafkaSink(KafkaSettings(call_timeout_ms=5_000, watchdog_ms=2_000), TopicSettings())
    made.assert_called_once_with(7.0)


def test_a_client_that_refuses_its_settings_is_fatal() -> None:
    with pytest.raises(Fatal, match="While making the transactional producer"):
        KafkaSink(KafkaSettings(client_options={"no.such": "1"}), TopicSettings(), NotedWatchdog())


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
    assert clock == [3, 6, 9, 12, 15], "each time a heartbeat longer, for the group to end the older one"
