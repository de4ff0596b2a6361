"""Poison, inputs that fail the model, silent topics, wrong clocks, hot keys and foreign partitioners."""

import random
import time

import pytest
from confluent_kafka import Producer

from pipeline.events.records import Modality, Reason, SpeechEncoding, SpeechEvent
from pipeline.join.partitioner import partition_of
from tests.faults.conftest import NewScenario
from tests.faults.scenario import Scenario
from tests.support.events import CODEC, encoded
from tests.support.replica import FAILS


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def poisoned(value: bytes, rng: random.Random) -> bytes:
    """Returns garbage, nothing, or a value that was cut or changed on its way."""
    at = rng.randrange(11)
    return rng.choice([rng.randbytes(200), b"", value[:at], bytes([value[0] ^ 0xFF]) + value[1:]])


def publish_poisoned(here: Scenario, triples: int, part: float, seed: int) -> int:
    rng = random.Random(seed)
    poison = 0
    with here.publishing() as send:
        for number in range(triples):
            event_time_ms = now_ms()
            for modality in Modality:
                value = encoded(modality, event_time_ms)
                if rng.random() < part:
                    poison += 1
                    value = poisoned(value, rng)
                send(modality, f"{seed}-{number}".encode(), value)
    here.count(3 * triples)
    return poison


def test_poison(scenario: NewScenario) -> None:
    """5 %, then nothing else, then 5 % again: each bad record is a dead letter, and the good ones go their way."""
    here = scenario()
    replica = here.replica("a")
    poison = publish_poisoned(here, 1_000, 0.05, seed=1)
    here.note("5 % poison, then 100 %, then 5 %")
    poison += publish_poisoned(here, 200, 1.0, seed=2)
    poison += publish_poisoned(here, 300, 0.05, seed=3)
    report = here.conclude()
    assert report.dead_letters[Reason.UNDECODABLE] == poison
    assert set(report.dead_letters) <= {Reason.UNDECODABLE, Reason.INCOMPLETE}
    assert report.predictions > 1_200
    here.stop(replica)


@pytest.mark.parametrize("how", ["raise", "memory"])
def test_record_that_fails_the_model(scenario: NewScenario, how: str) -> None:
    here = scenario()
    replica = here.replica("a", **{FAILS: how})
    silence = CODEC.encode_event(SpeechEvent(now_ms(), "test", 16_000, SpeechEncoding.PCM_S16LE, bytes(1_600)))
    here.publish_some(100)
    with here.publishing() as send:
        for number in range(3):
            key = f"silent-{number}".encode()
            send(Modality.SPEECH, key, silence)
            for modality in (Modality.IMAGE, Modality.SENSOR):
                send(modality, key, encoded(modality, now_ms()))
    here.count(9)
    here.note(f"three triples at which the model fails: {how}")
    here.publish_some(100, seed=2)
    report = here.conclude()
    assert report.dead_letters == {Reason.INFERENCE_FAILED: 9}
    assert report.predictions == 200
    here.stop(replica)


@pytest.mark.slow_faults
def test_silent_topic(scenario: NewScenario) -> None:
    here = scenario()
    replica = here.replica("a")
    with here.load(40, incomplete=0):
        pass
    here.note("no sensor events for two windows")
    with here.load(40, incomplete=0, silent=Modality.SENSOR, seed=2) as deaf:
        here.alive_for(2 * here.settings.join.window_ms / 1_000)
    with here.load(40, incomplete=0, seed=3):
        here.alive_for(1)
    report = here.conclude()
    assert report.dead_letters == {}
    assert report.predictions > deaf.triples
    here.stop(replica)


@pytest.mark.slow_faults
def test_wrong_clocks(scenario: NewScenario) -> None:
    here = scenario()
    replica = here.replica("a")
    with here.load(40, incomplete=0) as right:
        here.note("one producer an hour ahead, one an hour behind")
        with (
            here.load(20, incomplete=0, seed=2, skew_ms=3_600_000) as ahead,
            here.load(20, incomplete=0, seed=3, skew_ms=-3_600_000) as behind,
        ):
            here.alive_for(5)
    report = here.conclude()
    assert report.dead_letters == {Reason.CLOCK_SKEW: ahead.records, Reason.LATE: behind.records}
    assert report.predictions == right.triples
    here.stop(replica)


def test_hot_key(scenario: NewScenario) -> None:
    here = scenario()
    replicas = [here.replica("a"), here.replica("b")]
    here.note("half of all events have one key")
    with here.load(60, incomplete=0, hot=0.5) as load:
        here.alive_for(5)
    report = here.conclude()
    assert set(report.dead_letters) == {Reason.DUPLICATE}
    assert load.triples * 0.4 < report.predictions < load.triples * 0.6
    here.stop(*replicas)


def test_foreign_partitioner(scenario: NewScenario) -> None:
    """librdkafka's own default partitions by CRC32: a third of its keys lands where murmur2 would put them."""
    here = scenario()
    replica = here.replica("a")
    misrouted = 0

    def delivered(_error: object, message: object) -> None:
        nonlocal misrouted
        misrouted += partition_of(message.key(), 3) != message.partition()  # type: ignore[attr-defined]

    kafka = here.settings.kafka
    foreign = Producer({"bootstrap.servers": kafka.bootstrap_servers, "partitioner": "consistent_random"})
    for number in range(300):
        for modality in Modality:
            topic, value = here.settings.topics.source(modality), encoded(modality, now_ms())
            foreign.produce(topic, value, f"f-{number}".encode(), on_delivery=delivered)
    assert foreign.flush(60) == 0
    here.count(900)
    here.note("a producer with CRC32 partitioning")
    here.publish_some(100)
    report = here.conclude()
    assert report.dead_letters == {Reason.MISROUTED: misrouted}
    assert report.predictions == 100 + (900 - misrouted) // 3
    here.stop(replica)
