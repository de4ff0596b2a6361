"""What a fusion replica shows of itself."""

from collections.abc import Iterator, Mapping

import pytest
import structlog

from consumers.commits import STUCK_S
from consumers.vitals import EVERY_MS
from pipeline.events.records import Modality
from pipeline.join.partitioner import partition_of
from pipeline.kafka.contract import Committed, TopicPartition
from pipeline.telemetry.health import Health
from pipeline.telemetry.metrics import REGISTRY
from tests.support.events import encoded
from tests.support.fusion import NOW_MS, Beside, Replica, accounted, expected, publish, replica, run_until
from tests.support.memory import MemoryBroker
from tests.support.stepped import SteppedCommitter

SPEECH, IMAGE, SENSOR = Modality


@pytest.fixture
def health() -> Health:
    return Health(needs=("assignment",))


@pytest.fixture
def fusion(broker: MemoryBroker, health: Health) -> Iterator[Replica]:
    one = replica(broker, health=health)
    one.vitals._clock_ms = lambda: NOW_MS + 5_000
    yield one
    one.crash()


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def outcomes() -> Mapping[tuple[str, str], float]:
    (family,) = [family for family in REGISTRY.collect() if family.name == "trimodal_outcomes"]
    return {(s.labels["topic"], s.labels["outcome"]): s.value for s in family.samples}


def settle(broker: MemoryBroker, fusion: Replica) -> None:
    run_until(lambda: accounted(broker) == expected(broker), fusion)
    fusion.consumer.step()


def test_every_record_is_counted_by_topic_and_outcome(broker: MemoryBroker, fusion: Replica) -> None:
    before = outcomes()
    publish(broker, b"a", SPEECH, IMAGE, SENSOR, SENSOR)
    publish(broker, b"b", SPEECH, SENSOR)
    publish(broker, b"c", IMAGE)
    broker.publish("image", b"d", b"garbage")
    settle(broker, fusion)
    publish(broker, b"b", IMAGE)
    settle(broker, fusion)
    assert {key: count - before.get(key, 0) for key, count in outcomes().items() if count > before.get(key, 0)} == {
        ("speech", "joined"): 1,
        ("image", "joined"): 1,
        ("sensor", "joined"): 1,
        ("sensor", "DUPLICATE"): 1,
        ("speech", "partial"): 1,
        ("sensor", "partial"): 1,
        ("image", "amended"): 1,
        ("image", "INCOMPLETE"): 1,
        ("image", "UNDECODABLE"): 1,
    }


def test_a_long_wait_for_lanes_is_told_once(fusion: Replica) -> None:
    vitals, lanes = fusion.vitals, fusion.vitals._lanes
    with structlog.testing.capture_logs() as lines:
        for is_assigned, seconds in [
            (True, 0),
            (False, 9),
            (False, 13),
            (True, 14),
            (False, 18),
            (False, 30),
            (False, 60),
        ]:
            lanes.is_assigned = is_assigned
            vitals.watch(1_000_000 + seconds * 1_000)
    told = [line for line in lines if line["event"] == "waiting for the group to hand out lanes"]
    assert len(told) == 2
    assert "kafka.session_timeout_ms" in told[0]["hint"]


def test_latency_ends_with_the_commit(broker: MemoryBroker) -> None:
    one = replica(broker, beside=Beside(committer=SteppedCommitter))
    committer = one.committer
    assert isinstance(committer, SteppedCommitter)
    publish(broker, b"a", SPEECH, IMAGE, SENSOR)
    newest_ms = broker.records("sensor")[0].timestamp_ms
    before = latencies()
    while not committer.outputs:
        committer.advance()
        one.step()
    assert latencies() == before, "nothing is committed yet"
    one.vitals._clock_ms = lambda: newest_ms + 7_000
    while committer.outputs:
        committer.advance()
        one.step()
    assert latencies() == pytest.approx((before[0] + 1, before[1] + 7))
    one.crash()


def latencies() -> tuple[float, float]:
    count, total = (value(f"trimodal_latency_seconds_{what}", inputs="3") or 0.0 for what in ("count", "sum"))
    return count, total


def test_what_stands_is_sampled(broker: MemoryBroker, fusion: Replica) -> None:
    publish(broker, b"a", SPEECH, IMAGE, SENSOR)
    settle(broker, fusion)
    lane = partition_of(b"a", broker.partitions)
    publish(broker, b"open", SPEECH, at_ms=NOW_MS + 10)
    broker.members[0].pause([TopicPartition("image", lane)])
    publish(broker, b"a", IMAGE)
    fusion.consumer.step()
    fusion.vitals.watch(now_ms=10**9)
    assert value("trimodal_lanes") == 2
    assert value("trimodal_open_windows") == 1
    assert value("trimodal_waiting_bytes") == len(encoded(SPEECH, NOW_MS + 10))
    assert value("trimodal_watermark_lag_seconds", lane=str(lane)) == pytest.approx(5.0, abs=0.1)
    assert value("trimodal_consumer_lag_records", topic="image", partition=str(lane)) == 1
    assert value("trimodal_offset_map_bytes", topic="image", partition=str(lane)) == len(
        committed(broker, "image", lane).metadata
    )
    ratio = value("trimodal_offset_map_ratio", lane=str(lane))
    assert ratio is not None
    assert 0 < ratio < 0.1
    assert value("trimodal_queue_length", queue="commit") is not None


def committed(broker: MemoryBroker, topic: str, partition: int) -> Committed:
    return broker.committed[TopicPartition(topic, partition)]


def test_lanes_that_went_elsewhere_are_shown_no_more(broker: MemoryBroker, fusion: Replica) -> None:
    publish(broker, b"a", SPEECH, IMAGE, SENSOR)
    settle(broker, fusion)
    other = replica(broker)
    other.consumer.step()
    fusion.consumer.step()
    fusion.vitals.watch(now_ms=10**9)
    assert value("trimodal_lanes") == 1
    shown = [n for n in "01" if value("trimodal_consumer_lag_records", topic="image", partition=n) is not None]
    assert shown == ["0"]
    other.crash()


def test_nothing_is_sampled_within_a_second(broker: MemoryBroker, fusion: Replica) -> None:
    fusion.consumer.step()
    fusion.vitals.watch(now_ms=10**9)
    publish(broker, b"a", SPEECH)
    fusion.consumer.step()
    fusion.vitals._sampled_ms = 10**9
    fusion.vitals.watch(now_ms=10**9 + EVERY_MS - 1)
    assert value("trimodal_open_windows") == 0
    fusion.vitals.watch(now_ms=10**9 + EVERY_MS)
    assert value("trimodal_open_windows") == 1


def test_ready_from_the_assignment_on(broker: MemoryBroker, health: Health) -> None:
    one = replica(broker, health=health)
    assert not health.ready().ok
    one.consumer.step()
    assert health.ready().findings["assignment"].says == "2 lanes are held: 0, 1."
    one.consumer.lost()
    one.vitals.watch(now_ms=10**9)
    assert not health.ready().ok
    one.crash()


def test_a_replica_that_stands_by_is_ready(broker: MemoryBroker, health: Health) -> None:
    broker.partitions = 1
    holder, spare = replica(broker), replica(broker, health=health)
    holder.consumer.step()
    spare.consumer.step()
    assert health.ready().findings["assignment"].says.startswith("No lane is left")
    assert health.ready().ok
    holder.crash()
    spare.crash()


def test_records_that_wait_without_a_commit_are_no_good_sign(
    broker: MemoryBroker, fusion: Replica, health: Health
) -> None:
    publish(broker, b"a", SPEECH, IMAGE, SENSOR)
    settle(broker, fusion)
    now_s = [fusion.committer.last_commit_s or 0.0]
    fusion.vitals._commits._clock_s = lambda: now_s[0]
    now_s[0] += 1_000
    fusion.vitals.watch(now_ms=10**9)
    assert health.deep().findings["commits"].ok, "nothing was there to commit"
    broker.members[0].pause([TopicPartition("image", n) for n in (0, 1)])
    publish(broker, b"b", IMAGE)
    fusion.vitals.watch(now_ms=2 * 10**9)
    assert health.deep().findings["commits"].ok, "it has only just come"
    now_s[0] += STUCK_S
    fusion.vitals.watch(now_ms=3 * 10**9)
    stuck = health.deep().findings["commits"]
    assert (stuck.ok, stuck.says) == (
        False,
        "The last one went through 1060.0 s ago, and 1 records wait: see the log for what Kafka or the model says.",
    )
