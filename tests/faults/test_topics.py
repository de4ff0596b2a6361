"""Source topics that shrink, grow, or end in aborted transactions."""

import time
import uuid
from functools import partial

import pytest
from confluent_kafka import Producer
from confluent_kafka import TopicPartition as ClientTopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from pipeline.events.records import Modality
from pipeline.kafka.auditing import run_audit
from pipeline.kafka.offsets import OffsetQueries
from tests.faults.conftest import NewScenario
from tests.faults.scenario import Scenario
from tests.support.events import encoded
from tests.support.world import WAIT_S, await_true

OFTEN = {"client_options": {"topic.metadata.refresh.interval.ms": "1000"}}
"""librdkafka notices new partitions within five minutes; here within a second."""


def admin(here: Scenario) -> AdminClient:
    return AdminClient({"bootstrap.servers": here.settings.kafka.bootstrap_servers})


def delete_everything_there_is(here: Scenario) -> int:
    """Deletes all source records as retention would; returns how many of them had no outcome yet."""
    queries = OffsetQueries(here.settings.kafka, "test")
    ends = queries.ends(queries.partitions(here.settings.topics.sources))
    gone = [ClientTopicPartition(where.topic, where.partition, end) for where, end in ends.items()]
    client = admin(here)  # without a name it would end before its answers come
    for answer in client.delete_records(gone).values():
        answer.result(timeout=WAIT_S)
    return sum(ends.values())


def test_retention_deletes_below_the_committed_offset(scenario: NewScenario) -> None:
    """A replica stops with open windows; what they wait for is deleted before it comes back."""
    here = scenario(window_ms=60_000)
    replica = here.replica("a")
    here.publish_some(100)
    here.publish_some(100, missing=0.4, seed=2)
    deadline = time.monotonic() + WAIT_S
    while run_audit(here.settings).predictions < 100:
        assert time.monotonic() < deadline
    here.stop(replica)
    assert run_audit(here.settings).verdict.total.open > 0
    here.count(-delete_everything_there_is(here))
    here.note("retention deletes all that is there, records of open windows among it")
    here.publish_some(100, seed=3)
    replica = here.replica("a")
    report = here.conclude()
    assert report.verdict.total.predicted == 300
    here.stop(replica)


def grow(here: Scenario, topics: tuple[str, ...], partitions: int) -> None:
    """Returns when every broker knows."""
    wanted = [NewPartitions(topic, partitions) for topic in topics]
    client = admin(here)
    for answer in client.create_partitions(wanted).values():
        answer.result(timeout=WAIT_S)

    for server in here.settings.kafka.bootstrap_servers.split(","):
        asked = AdminClient({"bootstrap.servers": server})
        for topic in topics:
            await_true(f"{server} knows how many {topic} has", partial(has_partitions, asked, topic, partitions))


def has_partitions(asked: AdminClient, topic: str, partitions: int) -> bool:
    return len(asked.list_topics(topic, WAIT_S).topics[topic].partitions) == partitions


@pytest.mark.slow_faults
@pytest.mark.parametrize("grown", [1, 3], ids=["one topic", "all three topics"])
def test_topics_grow_while_running(scenario: NewScenario, grown: int) -> None:
    """A replica that notices ends with the reason; once the topics agree, a restart goes on."""
    here = scenario(kafka=OFTEN)
    first = here.replica("a")
    topics = here.settings.topics.sources
    with here.load(40, incomplete=0):
        here.note(f"{topics[:grown]} grow from 3 to 4 partitions")
        grow(here, topics[:grown], 4)
        assert first.wait(timeout=WAIT_S) != 0
        assert "partition counts" in here.log("a")
        if grown < 3:
            grow(here, topics[grown:], 4)
        second = here.replica("a")
    here.conclude()
    here.stop(second)


def test_aborted_transactions_and_control_records_at_the_end(scenario: NewScenario) -> None:
    here = scenario()
    replica = here.replica("a")
    here.publish_some(50)
    aborting = Producer(
        {"bootstrap.servers": here.settings.kafka.bootstrap_servers, "transactional.id": uuid.uuid4().hex}
    )
    aborting.init_transactions(WAIT_S)
    here.note("five aborted transactions, between what counts and after it")
    for number in range(5):
        aborting.begin_transaction()
        for modality in Modality:
            for partition in range(3):
                value = encoded(modality, time.time_ns() // 1_000_000)
                aborting.produce(here.settings.topics.source(modality), value, b"aborted", partition)
        assert aborting.flush(WAIT_S) == 0
        aborting.abort_transaction(WAIT_S)
        if number < 4:
            here.publish_some(20, missing=0.2, seed=2 + number)
    report = here.conclude()
    assert report.predictions > 100
    here.stop(replica)
