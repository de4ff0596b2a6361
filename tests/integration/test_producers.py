"""Topics and producers on the real Kafka of the local stack."""

import itertools
import time
from collections.abc import Iterator

import numpy as np
import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from pipeline.events.codec import Codec
from pipeline.events.records import Event, Modality
from pipeline.join.partitioner import partition_of
from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.contract import Output
from pipeline.kafka.errors import Fatal, KafkaFailure
from pipeline.kafka.producer import RecordProducer, Undelivered
from pipeline.settings import KafkaSettings, Settings, TopicSettings
from producers import digits, image, sensor, speech
from producers.errors import InvalidInput
from producers.publisher import Publisher
from tests.unit.producers.triples import made_up

pytestmark = pytest.mark.stack

PARTITIONS = 5
_numbers = itertools.count()


@pytest.fixture
def settings(bootstrap_servers: str) -> Iterator[Settings]:
    """Settings whose topics no other test has; they are gone afterwards."""
    prefix = f"producers-{next(_numbers)}-"
    chosen = Settings(
        kafka=KafkaSettings(bootstrap_servers=bootstrap_servers, call_timeout_ms=10_000),
        topics=TopicSettings(prefix=prefix, partitions=PARTITIONS, max_record_bytes=100_000),
    )
    yield chosen
    admin_of(chosen).delete()


@pytest.fixture
def topics(settings: Settings) -> TopicSettings:
    """Our topics, made."""
    admin_of(settings).create()
    return settings.topics


def admin_of(settings: Settings) -> TopicAdmin:
    return TopicAdmin(settings.kafka, settings.topics)


def make(settings: Settings, name: str, partitions: int, **config: str) -> None:
    client = AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers, "log_level": 0})
    made = client.create_topics([NewTopic(name, partitions, 1, config=config)])
    made[name].result(timeout=10)
    # The broker's metadata follows its answer within milliseconds; pytest's timeout bounds this.
    admin = admin_of(settings)
    while name not in admin.partition_counts():
        pass


def never(seconds: float) -> None:
    raise AssertionError(f"waited {seconds} s for a time that is past")


def records(settings: Settings, *names: str) -> list[Message]:
    """Everything that topics hold now."""
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka.bootstrap_servers,
            "group.id": "producers-test",
            "enable.auto.commit": False,
        }
    )
    try:
        held = admin_of(settings).offset_counts()
        left = sum(held[name] for name in names)
        consumer.assign([TopicPartition(name, p, 0) for name in names for p in range(PARTITIONS)])
        found: list[Message] = []
        while len(found) < left:
            batch = consumer.consume(left - len(found), timeout=10)
            assert batch, f"{left - len(found)} of {left} records did not come"
            found.extend(batch)
    finally:
        consumer.close()
    assert [message.error() for message in found if message.error()] == []
    return found


def test_topics_are_made_once_checked_described_and_deleted(settings: Settings) -> None:
    admin = admin_of(settings)
    assert admin.describe() == ()
    assert admin.offset_counts() == {}
    assert [plan.name for plan in admin.create()] == list(admin.partition_counts())
    assert admin.create() == ()
    assert admin.check() == PARTITIONS
    assert admin.partition_counts()[settings.topics.predictions] == PARTITIONS
    speech_state, *_ = states = admin.describe()
    assert len(states) == 7
    assert (speech_state.timestamp_type, speech_state.max_message_bytes) == ("LogAppendTime", 165_536)
    assert admin.delete() == tuple(state.name for state in states)
    assert admin.partition_counts() == {}


def test_unequal_sources_are_refused_by_name_and_count(settings: Settings) -> None:
    names = settings.topics.sources
    for name, partitions in zip(names, (2, 3, 2), strict=True):
        make(settings, name, partitions, **{"message.timestamp.type": "LogAppendTime"})
    for action in (admin_of(settings).create, admin_of(settings).check):
        with pytest.raises(Fatal, match=f"{names[0]} has 2, {names[1]} has 3, {names[2]} has 2: delete"):
            action()
    assert settings.topics.predictions not in admin_of(settings).partition_counts()


def test_a_source_without_the_brokers_timestamps_is_refused(settings: Settings) -> None:
    name = settings.topics.source(Modality.IMAGE)
    make(settings, name, 2)
    with pytest.raises(Fatal, match=f"{name} has message.timestamp.type=CreateTime"):
        admin_of(settings).create()


def test_missing_sources_follow_those_that_are_there(settings: Settings) -> None:
    config = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": "5000000"}
    make(settings, settings.topics.source(Modality.IMAGE), 3, **config)
    admin_of(settings).create()
    counts = admin_of(settings).partition_counts()
    assert counts.pop(settings.topics.statistics_changelog) == 1
    assert set(counts.values()) == {3}


def test_without_topics_or_a_broker_a_program_ends_within_seconds(settings: Settings) -> None:
    started_s = time.monotonic()
    with pytest.raises(Fatal, match="run `trimodal topics create`"):
        Publisher(settings)
    nobody = settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(KafkaFailure, match=r"asking 127\.0\.0\.1:1.*check kafka\.bootstrap_servers"):
        Publisher(settings.model_copy(update={"kafka": nobody}))
    assert time.monotonic() - started_s < 10


def test_keys_go_where_murmur2_says(settings: Settings, topics: TopicSettings) -> None:
    random = np.random.default_rng(5)
    keys = [random.bytes(int(length)) for length in random.integers(1, 257, 300)]
    keys += [b"21", b"foobar", b"a-little-bit-long-string", "Ziffer-ä".encode(), b"\x00"]
    with RecordProducer(settings.kafka, "test", 165_536) as producer:
        for key in keys:
            producer.publish(Output(topics.predictions, key, b"value"))
    found = records(settings, topics.predictions)
    assert {message.key(): message.partition() for message in found} == {
        key: partition_of(key, PARTITIONS) for key in keys
    }


def test_records_arrive_once_in_order_with_headers(settings: Settings, topics: TopicSettings) -> None:
    sent = [Output(topics.predictions, b"k", b"%d" % n, (("label", b"3"), ("label", b"%d" % n))) for n in range(2_000)]
    with RecordProducer(settings.kafka, "test", 165_536) as producer:
        for output in sent:
            producer.publish(output)
    found = records(settings, topics.predictions)
    assert [message.value() for message in found] == [output.value for output in sent]
    assert [message.headers() for message in found] == [list(output.headers) for output in sent]


def test_what_the_topic_refuses_is_named(settings: Settings, topics: TopicSettings) -> None:
    producer = RecordProducer(settings.kafka, "test", 1_000_000)
    producer.publish(Output(topics.predictions, b"huge", np.random.default_rng(0).bytes(500_000)))
    producer.publish(Output(topics.predictions, b"small", b"value"))
    with pytest.raises(Undelivered, match=r"with the key 'huge'.*MSG_SIZE_TOO_LARGE") as caught:
        producer.flush()
    assert len(caught.value.failures) == 1
    assert [message.key() for message in records(settings, topics.predictions)] == [b"small"]


def test_events_of_each_kind_arrive_in_their_topics(settings: Settings, topics: TopicSettings) -> None:
    now_ms = time.time_ns() // 1_000_000
    events: dict[Modality, Event] = {
        Modality.SPEECH: speech.from_samples(np.arange(800, dtype=np.int16), 16_000, now_ms, "microphone"),
        Modality.IMAGE: image.from_array(np.eye(20, dtype=np.uint8), now_ms, "camera"),
        Modality.SENSOR: sensor.from_array(np.ones((9, 2)), 100.0, ("x", "y"), now_ms, "pen"),
    }
    with Publisher(settings) as publisher:
        for event in events.values():
            publisher.publish("moment-1", event)
    for modality, event in events.items():
        (message,) = records(settings, topics.source(modality))
        assert message.key() == b"moment-1"
        assert Codec().decode_event(modality, message.value() or b"") == event
        assert message.partition() == partition_of(b"moment-1", PARTITIONS)


def test_an_event_may_have_the_largest_size_and_no_more(settings: Settings, topics: TopicSettings) -> None:
    overhead = len(Codec().encode_event(speech.from_samples(np.zeros(1, np.int16), 16_000, 0))) - 2
    largest = (topics.max_record_bytes - overhead) // 2 - 2
    noise = np.random.default_rng(0).integers(-9_000, 9_000, largest + 10).astype(np.int16)
    with Publisher(settings) as publisher:
        publisher.publish("k" * 256, speech.from_samples(noise[:largest], 16_000, 0))
        with pytest.raises(InvalidInput, match=r"more than topics\.max_record_bytes=100000"):
            publisher.publish("k", speech.from_samples(noise, 16_000, 0))
    (message,) = records(settings, topics.source(Modality.SPEECH))
    assert topics.max_record_bytes - 4 <= len(message.value() or b"") <= topics.max_record_bytes


def test_a_replay_arrives_as_its_summary_says(settings: Settings, topics: TopicSettings) -> None:
    replay = digits.Replay("r1", 60, missing=0.1, duplicates=0.1, shuffle_ms=20, garbage=16)
    clock = itertools.count(1_800_000_000_000, 5)
    with Publisher(settings) as publisher:
        moments = digits.moments(100.0, clock.__next__)
        plan = digits.Plan(replay, made_up(60), moments, topics, publisher.codec)
        digits.send(plan, publisher.send, lambda: 2_000_000_000_000, never)
    found = records(settings, *topics.sources)
    assert len(found) == plan.summary.records
    assert sum(admin_of(settings).offset_counts().values()) == plan.summary.records
    labels = {message.key(): dict(message.headers() or ()).get("label") for message in found}
    for n, triple in enumerate(made_up(60)):
        key = f"digit-r1-{n}".encode()
        assert labels.get(key, triple.label.encode()) == triple.label.encode()
    misplaced = [m for m in found if m.key() and m.partition() != partition_of(m.key() or b"", PARTITIONS)]
    assert misplaced == []
