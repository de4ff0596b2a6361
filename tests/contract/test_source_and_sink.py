"""One suite for the in-memory broker and for Kafka: what the fusion consumer relies on."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from pipeline.kafka import silence
from pipeline.kafka.contract import (
    Arrivals,
    Committed,
    EndOfPartition,
    Fresh,
    Output,
    Source,
    TopicPartition,
    Transaction,
)
from pipeline.kafka.errors import AbortNeeded
from tests.contract.brokers import PARTITIONS, Broker, InMemory, RealKafka

WAIT_S = 40.0


class Listener:
    """Starts at what is committed, and takes note."""

    def __init__(self) -> None:
        self.starts: Mapping[TopicPartition, Committed | Fresh] = {}
        self.assignments = 0
        self.revocations = 0

    def in_revoked(self) -> None:
        """Does nothing."""

    def assigned(self, starts: Mapping[TopicPartition, Committed | Fresh]) -> Mapping[TopicPartition, int]:
        self.starts = starts
        self.assignments += 1
        return {where: start.offset for where, start in starts.items()}

    def revoked(self) -> None:
        self.revocations += 1
        self.in_revoked()

    def lost(self) -> None:
        self.revocations += 1


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.stack)])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    if request.param == "memory":
        yield InMemory()
        return
    kafka = RealKafka(request.getfixturevalue("bootstrap_servers"))
    try:
        yield kafka
    finally:
        kafka.close()


def poll_until(source: Source, enough: Callable[[list[Arrivals]], bool], *others: Source) -> list[Arrivals]:
    arrivals: list[Arrivals] = []
    deadline = time.monotonic() + WAIT_S
    while not enough(arrivals):
        came = [one for one in arrivals if one.deliveries or one.ends]
        assert time.monotonic() < deadline, f"only {came} came in {WAIT_S} s"
        for other in others:
            other.poll(10, 0.05)
        arrivals.append(source.poll(10, 0.05))
    return arrivals


def values(arrivals: Sequence[Arrivals], where: TopicPartition) -> list[bytes | None]:
    deliveries = [delivery for one in arrivals for delivery in one.deliveries if delivery.where == where]
    return [value for delivery in deliveries for value in delivery.values]


def ends(arrivals: Sequence[Arrivals]) -> set[TopicPartition]:
    return {TopicPartition(end.topic, end.partition) for one in arrivals for end in one.ends}


def everything(broker: Broker) -> set[TopicPartition]:
    return {TopicPartition(topic, number) for topic in broker.topics.sources for number in range(PARTITIONS)}


def all_ends(broker: Broker) -> Callable[[list[Arrivals]], bool]:
    return lambda arrivals: ends(arrivals) == everything(broker)


def test_a_new_group_starts_at_the_beginning_and_is_told_of_ends(broker: Broker) -> None:
    speech = broker.topics.sources[0]
    broker.publish(speech, 0, [b"1", b"2", b"3"])
    listener = Listener()
    source = broker.source(listener)
    arrivals = poll_until(source, all_ends(broker))
    assert listener.starts == dict.fromkeys(everything(broker), Fresh(0))
    assert values(arrivals, TopicPartition(speech, 0)) == [b"1", b"2", b"3"]
    assert EndOfPartition(speech, 0, 3) in [end for one in arrivals for end in one.ends]


def test_the_largest_records_are_delivered_among_small_ones(broker: Broker) -> None:
    noise = random.Random(1).randbytes(broker.topics.max_record_bytes)
    for where in everything(broker):
        broker.publish(where.topic, where.partition, [b"before", noise, b"after"])
    arrivals = poll_until(broker.source(Listener()), all_ends(broker))
    assert all(values(arrivals, where) == [b"before", noise, b"after"] for where in everything(broker))


def test_outputs_offsets_and_metadata_are_committed_together(broker: Broker) -> None:
    speech = TopicPartition(broker.topics.sources[0], 1)
    broker.publish(speech.topic, 1, [b"1", b"2", b"3"])
    listener = Listener()
    source, sink = broker.source(listener), broker.sink()
    poll_until(source, all_ends(broker))
    outputs = [Output(broker.topics.predictions, b"k", b"p1"), Output(broker.topics.dead_letters, None, b"d1")]
    sink.commit(Transaction(outputs, {speech: Committed(2, "tm1:what is finished")}, source.group_metadata()))
    assert broker.published(broker.topics.predictions) == [b"p1"]
    assert broker.published(broker.topics.dead_letters) == [b"d1"]
    source.rewind()
    assert listener.starts[speech] == Committed(2, "tm1:what is finished")
    assert values(poll_until(source, all_ends(broker)), speech) == [b"3"]


def test_a_zombie_commits_nothing(broker: Broker) -> None:
    speech = TopicPartition(broker.topics.sources[0], 0)
    zombie, other_listener = Listener(), Listener()
    source, sink = broker.source(zombie), broker.sink()
    poll_until(source, lambda _: zombie.assignments > 0)
    old = source.group_metadata()
    other = broker.source(other_listener, "b")
    poll_until(other, lambda _: len(other_listener.starts) == len(zombie.starts) == 3, source)
    with pytest.raises(AbortNeeded):
        sink.commit(Transaction([Output(broker.topics.predictions, b"k", b"zombie")], {speech: Committed(7, "x")}, old))
    assert broker.published(broker.topics.predictions) == []
    assert not zombie.starts.keys() & other_listener.starts.keys()
    assert {where.partition for where in zombie.starts} != {where.partition for where in other_listener.starts}


def test_after_an_abort_the_sink_can_be_used_again(broker: Broker) -> None:
    listener, newcomer = Listener(), Listener()
    source, sink = broker.source(listener), broker.sink()
    poll_until(source, lambda _: listener.assignments > 0)
    old = source.group_metadata()
    other = broker.source(newcomer, "b")
    poll_until(other, lambda _: len(newcomer.starts) == len(listener.starts) == 3, source)
    mine = next(iter(listener.starts))
    with pytest.raises(AbortNeeded):
        sink.commit(Transaction([Output(broker.topics.predictions, b"k", b"1")], {mine: Committed(1, "x")}, old))
    now = source.group_metadata()
    sink.commit(Transaction([Output(broker.topics.predictions, b"k", b"2")], {mine: Committed(1, "x")}, now))
    assert broker.published(broker.topics.predictions) == [b"2"]


def test_pause_holds_a_partition_and_resume_tells_its_end_again(broker: Broker) -> None:
    held, flowing = (TopicPartition(topic, 0) for topic in broker.topics.sources[:2])
    source = broker.source(Listener())
    poll_until(source, all_ends(broker))
    source.pause([held])
    broker.publish(held.topic, 0, [b"held"])
    broker.publish(flowing.topic, 0, [b"flows"])
    arrivals = poll_until(source, lambda got: values(got, flowing) == [b"flows"] and flowing in ends(got))
    assert values(arrivals, held) == []
    source.resume([held])
    arrivals = poll_until(source, lambda got: held in ends(got))
    assert values(arrivals, held) == [b"held"]
    source.pause([held])
    source.resume([held])
    assert values(poll_until(source, lambda got: held in ends(got)), held) == []


def test_rewind_reads_again_what_was_not_committed(broker: Broker) -> None:
    where = TopicPartition(broker.topics.sources[2], 0)
    broker.publish(where.topic, 0, [b"1", b"2"])
    source = broker.source(Listener())
    assert values(poll_until(source, all_ends(broker)), where) == [b"1", b"2"]
    source.rewind()
    assert values(poll_until(source, all_ends(broker)), where) == [b"1", b"2"]


def test_what_was_paused_flows_after_a_rewind(broker: Broker) -> None:
    where = TopicPartition(broker.topics.sources[2], 0)
    broker.publish(where.topic, 0, [b"1", b"2"])
    source = broker.source(Listener())
    poll_until(source, all_ends(broker))
    source.pause(sorted(everything(broker)))
    source.rewind()
    assert values(poll_until(source, all_ends(broker)), where) == [b"1", b"2"]


def test_what_was_paused_flows_after_a_rebalance(broker: Broker) -> None:
    listener, newcomer = Listener(), Listener()
    source = broker.source(listener)
    poll_until(source, all_ends(broker))
    source.pause(sorted(everything(broker)))
    other = broker.source(newcomer, "b")
    poll_until(other, lambda _: len(newcomer.starts) == len(listener.starts) == 3, source)
    for where in listener.starts:
        broker.publish(where.topic, where.partition, [b"new"])
    poll_until(source, lambda got: all(values(got, where) == [b"new"] for where in listener.starts), other)


@pytest.mark.parametrize("broker", [pytest.param("kafka", marks=pytest.mark.stack)], indirect=True)
def test_a_client_that_no_longer_delivers_is_found_out_and_begins_anew(
    broker: RealKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "LOOK_EVERY_S", 0.5)
    where = TopicPartition(broker.topics.sources[1], 1)
    source = broker.source(Listener())
    poll_until(source, all_ends(broker))
    broker.stop_delivering(source)
    broker.publish(where.topic, 1, [b"1"])
    with pytest.raises(AbortNeeded, match=r"delivered nothing of .*image\[1\] from offset 0 on"):
        poll_until(source, lambda got: values(got, where) == [b"1"])
    source.rewind()
    assert values(poll_until(source, all_ends(broker)), where) == [b"1"]


def test_the_backlog_is_what_is_still_to_be_delivered(broker: Broker) -> None:
    where = TopicPartition(broker.topics.sources[1], 0)
    broker.publish(where.topic, 0, [b"%d" % number for number in range(25)])
    source = broker.source(Listener())
    arrivals = poll_until(source, lambda got: len(values(got, where)) > 0)
    assert source.backlog()[where] == 25 - len(values(arrivals, where)) > 0
    poll_until(source, lambda got: where in ends(got))
    assert source.backlog()[where] == 0


def test_what_is_finished_is_committed_before_the_lanes_go(broker: Broker) -> None:
    listener, newcomer = Listener(), Listener()
    source, sink = broker.source(listener), broker.sink()
    poll_until(source, lambda _: listener.assignments > 0)
    offsets = {where: Committed(1, "x") for where in everything(broker)}
    for where in offsets:
        broker.publish(where.topic, where.partition, [b"1"])
    outputs = [Output(broker.topics.predictions, b"k", b"last")]

    def commit() -> None:
        sink.commit(Transaction(outputs, offsets, source.group_metadata()))

    listener.in_revoked = commit  # type: ignore[method-assign]
    other = broker.source(newcomer, "b")
    poll_until(other, lambda _: len(newcomer.starts) == len(listener.starts) == 3, source)
    assert broker.published(broker.topics.predictions) == [b"last"]
    assert {*listener.starts.values(), *newcomer.starts.values()} == {Committed(1, "x")}


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not committed"])
def test_what_became_of_a_commit_whose_end_is_unknown_is_read(broker: Broker, committed: bool) -> None:
    where = TopicPartition(broker.topics.sources[0], 0)
    broker.publish(where.topic, 0, [b"1", b"2"])
    listener = Listener()
    source, sink = broker.source(listener), broker.sink()
    poll_until(source, all_ends(broker))
    broker.end_unknown(sink, committed=committed)
    outputs = [Output(broker.topics.predictions, b"k", b"p")]
    with pytest.raises(AbortNeeded):
        sink.commit(Transaction(outputs, {where: Committed(1, "x")}, source.group_metadata()))
    source.rewind()
    assert listener.starts[where] == (Committed(1, "x") if committed else Fresh(0))
    assert broker.published(broker.topics.predictions) == ([b"p"] if committed else [])
