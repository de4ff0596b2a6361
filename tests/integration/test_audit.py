"""The audit on the real Kafka: what became of every record, also while a pipeline is running."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest

from pipeline.events.records import Reason, SourceOffset
from pipeline.join import offset_map
from pipeline.join.audit import Account
from pipeline.join.offset_map import UnreadableMap
from pipeline.join.tracker import Position
from pipeline.kafka.auditing import AuditReport, run_audit
from pipeline.kafka.contract import Committed, GroupMetadata, Output, TopicPartition, Transaction
from pipeline.kafka.errors import Fatal
from pipeline.kafka.offsets import OffsetQueries
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.sink import KafkaSink
from tests.support.own_topics import CODEC, WAIT_S, OwnTopics
from tests.support.predictions import a_prediction

pytestmark = pytest.mark.stack


@pytest.fixture
def own(bootstrap_servers: str) -> Iterator[OwnTopics]:
    own = OwnTopics(bootstrap_servers)
    yield own
    own.delete()


def test_empty_topics_balance(own: OwnTopics) -> None:
    report = run_audit(own.settings)
    assert report.verdict.total == Account()
    assert report.balances
    assert report.is_settled
    assert not report.has_committed


def test_a_ledger_that_balances(own: OwnTopics) -> None:
    own.publish(own.speech, b"0", b"1")
    own.aborted(own.speech, b"2 and its marker")
    own.publish(own.speech, b"4")
    own.predict(own.source(0), prediction_id="amended")
    own.predict(own.source(0), own.source(1), prediction_id="amended", revision=1)
    own.dead_letter(own.source(4))
    own.dead_letter(SourceOffset(own.topics.predictions, 0, 0), reason=Reason.REJECTED)
    own.aborted(own.topics.predictions, CODEC.encode_prediction(a_prediction(0, sources=(own.source(0),))))
    own.commit(Position.at(5))
    report = run_audit(own.settings)
    assert report.verdict.topics[own.speech] == Account(records=3, predicted=2, dead_lettered=1)
    assert report.verdict.total.records == 3
    assert (report.balances, report.is_settled, report.has_committed) == (True, True, True)
    assert report.predictions == 2
    assert report.dead_letters == {Reason.LATE: 1, Reason.REJECTED: 1}


def test_lost_doubled_open_and_unknown_are_told_apart(own: OwnTopics) -> None:
    own.publish(own.speech, *[b"x"] * 6)
    own.predict(own.source(1))
    own.dead_letter(own.source(1))
    own.predict(own.source(77), own.source(0, partition=1))
    own.commit(Position(low=2, high=5, unfinished=(2, 4), replay_from=0))
    report = run_audit(own.settings)
    assert report.verdict.topics[own.speech] == Account(records=6, lost=2, doubled=1, open=3, unknown=2)
    assert not report.balances
    listed = report.verdict.listed
    assert listed.lost == (own.source(0), own.source(3))
    assert listed.doubled == (own.source(1),)
    assert listed.open == (own.source(2), own.source(4), own.source(5))
    assert listed.unknown == (own.source(77), own.source(0, partition=1))


def test_without_a_group_nothing_is_lost(own: OwnTopics) -> None:
    own.publish(own.speech, b"0", b"1")
    own.predict(own.source(1))
    assert own.account() == Account(records=2, predicted=1, open=1)


def test_outputs_that_do_not_decode_are_told(own: OwnTopics) -> None:
    own.publish(own.topics.dead_letters, b"what", partition=1)
    report = run_audit(own.settings)
    assert report.unreadable == (f"{own.topics.dead_letters}[1]@0",)
    assert not report.balances


def test_retention_makes_no_losses(own: OwnTopics) -> None:
    """Output 0 and source 0 are deleted; output 1 is kept, so that what came after it proves something."""
    own.publish(own.speech, b"0", b"1", b"2")
    own.publish(own.topics.predictions, CODEC.encode_prediction(a_prediction(1, sources=(own.source(1),))))
    kept = a_prediction(2, sources=(own.source(0), own.source(2)))
    own.publish(own.topics.predictions, CODEC.encode_prediction(kept))
    kept_ms = own.read(own.ranges(own.topics.predictions))[-1].timestamp_ms
    while time.time_ns() // 1_000_000 <= kept_ms:
        pass
    own.publish(own.speech, b"3")
    own.commit(Position.at(4))
    own.delete_below(own.topics.predictions, 0, 1)
    own.delete_below(own.speech, 0, 1)
    assert own.account() == Account(records=3, predicted=1, unproven=1, lost=1, expired=1)
    own.delete_below(own.topics.predictions, 0, 2)
    assert own.account() == Account(records=3, unproven=3)


def test_only_what_came_since_is_looked_at(own: OwnTopics) -> None:
    own.publish(own.speech, b"0")
    own.predict(own.source(0))
    began_ms = max(m.timestamp_ms for m in own.read(own.ranges(own.topics.predictions))) + 1
    while time.time_ns() // 1_000_000 < began_ms:
        pass
    own.publish(own.speech, b"1", b"2")
    own.predict(own.source(1))
    own.commit(Position.at(3))
    assert own.account() == Account(records=3, predicted=2, lost=1)
    account = run_audit(own.settings, since_ms=began_ms).verdict.topics[own.speech]
    assert account == Account(records=2, predicted=1, lost=1)


def test_a_commit_that_is_not_ours_is_told(own: OwnTopics) -> None:
    own.commit(Position.at(0), "somebody else's")
    with pytest.raises(UnreadableMap, match="trimodal offsets reset"):
        run_audit(own.settings)


def test_a_topic_that_was_made_anew_is_told(own: OwnTopics) -> None:
    own.commit(Position.at(5))
    with pytest.raises(Fatal, match="was the topic made anew"):
        run_audit(own.settings)


def test_the_pipeline_may_go_on_between_the_steps_of_an_audit(own: OwnTopics, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each question that the audit asks, a record comes in, is predicted, and its position is committed."""
    done = 0

    def step() -> None:
        nonlocal done
        own.publish(own.speech, b"x")
        own.predict(own.source(done))
        done += 1
        own.commit(Position.at(done))

    def after_a_step(ask: Callable[..., object]) -> Callable[..., object]:
        def stepped(*arguments: object, **options: object) -> object:
            step()
            return ask(*arguments, **options)

        return stepped

    for name in ("begins", "ends", "committed"):
        monkeypatch.setattr(OffsetQueries, name, after_a_step(getattr(OffsetQueries, name)))
    report = run_audit(own.settings)
    assert report.balances, report.verdict
    assert report.verdict.total.records > 1


def test_offsets_may_be_committed_before_the_markers_of_their_outputs_are_written(
    own: OwnTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.publish(own.speech, b"0")
    output = own.transactional()
    output.produce(own.topics.predictions, CODEC.encode_prediction(a_prediction(1, sources=(own.source(0),))))
    output.flush(WAIT_S)
    own.commit(Position.at(1))
    read = TopicReader.read

    def read_while_the_marker_comes(reader: TopicReader, ranges: Mapping[TopicPartition, range]) -> object:
        output.commit_transaction(WAIT_S)
        return read(reader, ranges)

    monkeypatch.setattr(TopicReader, "read", read_while_the_marker_comes)
    assert own.account() == Account(records=1, predicted=1)


class Pipeline(threading.Thread):
    """Publishes records and accounts for them transaction by transaction; some outputs are aborted first."""

    def __init__(self, own: OwnTopics) -> None:
        super().__init__()
        self.stop = threading.Event()
        self.transactions = 0
        self._own = own

    def run(self) -> None:
        own = self._own
        sink, consumer = KafkaSink(own.settings.kafka, own.topics), own.consumer()
        group = GroupMetadata(consumer.consumer_group_metadata())
        place = TopicPartition(own.speech, 0)
        done = 0
        while not self.stop.is_set():
            own.publish(own.speech, *[b"x"] * 20)
            outputs = [self._output(offset) for offset in range(done, done + 20)]
            if self.transactions % 5 == 0:
                own.aborted(own.topics.predictions, *(output.value for output in outputs))
            done += 20
            position = Position.at(done)
            commit = {place: Committed(done, offset_map.encode(position, own.speech, 0))}
            sink.commit(Transaction(outputs, commit, group))
            self.transactions += 1
        consumer.close()
        sink.close()

    def _output(self, offset: int) -> Output:
        said = replace(a_prediction(offset), sources=(self._own.source(offset),))
        return Output(self._own.topics.predictions, said.key.encode(), CODEC.encode_prediction(said))


def test_a_live_pipeline_never_looks_wrong(own: OwnTopics) -> None:
    pipeline = Pipeline(own)
    pipeline.start()
    reports: list[AuditReport] = []
    try:
        while len(reports) < 15 or pipeline.transactions < 30:
            assert pipeline.is_alive()
            reports.append(run_audit(own.settings))
    finally:
        pipeline.stop.set()
        pipeline.join()
    assert [report.verdict.total for report in reports if not report.balances] == []
    assert any(report.verdict.total.records for report in reports)
    total = run_audit(own.settings).verdict.total
    assert total == Account(records=20 * pipeline.transactions, predicted=20 * pipeline.transactions)
