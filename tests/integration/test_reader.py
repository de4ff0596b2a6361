"""The reader on the real Kafka: where a partition begins and ends."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.join.tracker import Position
from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.contract import Committed, Message, TopicPartition
from pipeline.kafka.errors import Fatal, KafkaFailure, Retriable
from pipeline.kafka.offsets import OffsetQueries
from pipeline.kafka.reader import TopicReader
from pipeline.settings import KafkaSettings
from tests.support.own_topics import PARTITIONS, WAIT_S, OwnTopics, values

pytestmark = pytest.mark.stack


@pytest.fixture
def own(bootstrap_servers: str) -> Iterator[OwnTopics]:
    own = OwnTopics(bootstrap_servers)
    yield own
    own.delete()


def test_all_partitions_are_read_in_order_and_no_further(own: OwnTopics) -> None:
    own.publish(own.speech, *(b"a%d" % n for n in range(50)))
    own.publish(own.speech, *(b"b%d" % n for n in range(70)), partition=1)
    ranges = own.ranges(own.speech)
    own.publish(own.speech, b"later")
    found = own.read(ranges)
    by_partition = {number: [m for m in found if m.partition == number] for number in range(PARTITIONS)}
    assert values(by_partition[0]) == [b"a%d" % n for n in range(50)]
    assert [message.offset for message in by_partition[1]] == list(range(70))
    middle = {TopicPartition(own.speech, 0): range(10, 13)}
    assert values(own.read(middle)) == [b"a10", b"a11", b"a12"]


def test_empty_topics_are_at_their_end(own: OwnTopics) -> None:
    assert own.read(own.ranges(own.speech)) == []


def test_aborted_records_and_markers_at_the_end_are_passed_over(own: OwnTopics) -> None:
    own.publish(own.speech, b"kept")
    own.aborted(own.speech, b"no", b"nor this")
    assert own.ranges(own.speech)[TopicPartition(own.speech, 0)] == range(4)
    assert values(own.read(own.ranges(own.speech))) == [b"kept"]


def test_a_topic_with_nothing_but_markers_and_aborted_records_ends(own: OwnTopics) -> None:
    own.aborted(own.speech, b"no")
    assert own.read(own.ranges(own.speech)) == []


def test_an_open_transaction_within_the_range_is_waited_for(own: OwnTopics) -> None:
    own.publish(own.speech, b"before")
    open_one = own.transactional()
    open_one.produce(own.speech, b"within", partition=0)
    open_one.flush(WAIT_S)
    assert own.ranges(own.speech)[TopicPartition(own.speech, 0)] == range(1)
    found = []
    with TopicReader(own.settings.kafka, "test") as reader:
        for batch in reader.read(own.ranges(own.speech, written=True)):
            found += values(batch)
            if found == [b"before"]:
                open_one.commit_transaction(WAIT_S)
    assert found == [b"before", b"within"]


def test_an_open_transaction_that_does_not_end_is_told(own: OwnTopics) -> None:
    open_one = own.transactional()
    open_one.produce(own.speech, b"within", partition=0)
    open_one.flush(WAIT_S)
    hasty = own.settings.kafka.model_copy(update={"call_timeout_ms": 1_000, "transaction_timeout_ms": 1_000})
    ranges = own.ranges(own.speech, written=True)
    with TopicReader(hasty, "test") as reader, pytest.raises(Retriable, match="a transaction there is still open"):
        list(reader.read(ranges))
    open_one.abort_transaction(WAIT_S)


def test_a_range_is_read_to_its_end_beside_a_busy_writer(own: OwnTopics) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            own.publish(own.speech, *[b"x" * 100] * 50)
            own.aborted(own.speech, b"no")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        place = TopicPartition(own.speech, 0)
        while len(ranges := own.ranges(own.speech)[place]) < 200:
            pass
        offsets = [message.offset for message in own.read({place: ranges})]
    finally:
        stop.set()
        writer.join()
    assert offsets == sorted(set(offsets))
    assert set(offsets) <= set(ranges)
    later = own.read({place: ranges})
    assert [message.offset for message in later] == offsets


def test_what_retention_deleted_is_missing(own: OwnTopics) -> None:
    own.publish(own.speech, b"0", b"1", b"2")
    ranges = own.ranges(own.speech)
    own.delete_below(own.speech, 0, 2)
    assert values(own.read(ranges)) == [b"2"]
    assert own.ranges(own.speech)[TopicPartition(own.speech, 0)] == range(2, 3)


def test_following_begins_where_it_is_told_to(own: OwnTopics) -> None:
    own.publish(own.speech, b"old")
    places = own.queries.partitions([own.speech])
    first_ms = own.read(own.ranges(own.speech))[0].timestamp_ms
    while time.time_ns() // 1_000_000 <= first_ms:
        pass
    begins = own.queries.ends(places)
    own.publish(own.speech, b"new")
    assert own.queries.since(places, first_ms) == own.queries.begins(places)
    assert own.queries.since(places, first_ms + 1) == begins
    assert own.queries.since(places, first_ms + 10**9) == own.queries.ends(places)
    with TopicReader(own.settings.kafka, "test") as reader:
        reader.follow(begins)
        found: list[Message] = []
        deadline = time.monotonic() + WAIT_S
        while not found and time.monotonic() < deadline:
            found += reader.poll(10, 1.0)
    assert values(found) == [b"new"]


def test_no_group_is_seen(own: OwnTopics) -> None:
    own.publish(own.speech, b"0")
    own.read(own.ranges(own.speech))
    groups = own.admin.list_consumer_groups().result(timeout=WAIT_S).valid
    assert not [group.group_id for group in groups if group.group_id.startswith(own.settings.kafka.group)]


def test_what_a_group_has_committed(own: OwnTopics) -> None:
    places = own.queries.partitions(own.topics.sources)
    assert own.queries.committed(own.settings.kafka.group, places) == {}
    own.commit(Position.at(3), "a text")
    found = own.queries.committed(own.settings.kafka.group, places)
    assert found == {TopicPartition(own.speech, 0): Committed(3, "a text")}


def test_a_topic_that_comes_in_a_moment_is_waited_for(own: OwnTopics) -> None:
    later = own.topics.model_copy(update={"prefix": f"{own.topics.prefix}later."})
    admin = TopicAdmin(own.settings.kafka, later)
    with ThreadPoolExecutor(2) as pool:
        found, lanes = pool.submit(own.queries.partitions, later.sources), pool.submit(admin.check)
        time.sleep(0.5)
        assert not any(question.done() for question in (found, lanes))
        try:
            TopicAdmin(own.settings.kafka, later).create()
            assert len(found.result()) == len(later.sources) * later.partitions
            assert lanes.result() == later.partitions
        finally:
            admin.delete()


def test_a_missing_topic_and_a_missing_broker_are_told_in_seconds(own: OwnTopics) -> None:
    with pytest.raises(Fatal, match="There is no topic nowhere: run `trimodal topics create`"):
        own.queries.partitions([own.speech, "nowhere"])
    began = time.monotonic()
    with pytest.raises(KafkaFailure, match=r"check kafka\.bootstrap_servers"):
        OffsetQueries(KafkaSettings(bootstrap_servers="127.0.0.1:1"), "test").partitions(["speech"])
    assert time.monotonic() - began < 10
