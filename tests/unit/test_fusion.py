"""The fusion consumer on the in-memory broker: each record ends in one committed output, and which."""

import threading
from collections.abc import Sequence

import pytest

from pipeline.events.records import Modality, Reason
from pipeline.join.partitioner import partition_of
from pipeline.kafka.contract import TopicPartition
from pipeline.model.samples import Sample
from tests.support.events import StubPredictor, encoded
from tests.support.fusion import (
    NOW_MS,
    SETTINGS,
    Replica,
    dead_letters,
    predictions,
    publish,
    replica,
    run_to_balance,
    run_until,
)
from tests.support.memory import Ending, MemoryBroker

SPEECH, IMAGE, SENSOR = Modality


def reasons(broker: MemoryBroker) -> list[Reason]:
    return [letter.reason for letter in dead_letters(broker)]


def test_a_triple_becomes_one_prediction(broker: MemoryBroker, fusion: Replica) -> None:
    publish(broker, b"a", SPEECH, IMAGE, SENSOR)
    run_to_balance(broker, fusion)
    (prediction,) = predictions(broker)
    assert (prediction.key, prediction.label, prediction.revision) == ("a", "3", 0)
    assert prediction.modalities == (SPEECH, IMAGE, SENSOR)
    assert prediction.confidence == pytest.approx(0.91)
    assert prediction.event_time_ms == NOW_MS
    newest_ms = max(message.timestamp_ms for topic in SETTINGS.topics.sources for message in broker.records(topic))
    assert prediction.latency_ms == pytest.approx(prediction.predicted_at_ms - newest_ms, rel=1e-6)


def test_two_of_three_become_a_partial_prediction(broker: MemoryBroker, fusion: Replica) -> None:
    publish(broker, b"a", SPEECH, SENSOR)
    run_to_balance(broker, fusion)
    assert [prediction.modalities for prediction in predictions(broker)] == [(SPEECH, SENSOR)]


def test_a_missing_input_amends_the_partial_prediction(broker: MemoryBroker, fusion: Replica) -> None:
    publish(broker, b"a", SPEECH, SENSOR)
    run_to_balance(broker, fusion)
    publish(broker, b"a", IMAGE, at_ms=NOW_MS - 7)
    run_to_balance(broker, fusion)
    first, second = predictions(broker)
    assert (first.revision, first.modalities) == (0, (SPEECH, SENSOR))
    assert (second.revision, second.modalities) == (1, (SPEECH, IMAGE, SENSOR))
    assert (second.prediction_id, second.event_time_ms) == (first.prediction_id, first.event_time_ms)
    assert set(first.sources) < set(second.sources)
    assert dead_letters(broker) == []


def test_a_new_owner_amends_what_its_predecessor_answered(broker: MemoryBroker) -> None:
    publish(broker, b"a", SPEECH, SENSOR)
    first = replica(broker)
    run_to_balance(broker, first)
    first.crash()
    publish(broker, b"a", IMAGE)
    second = replica(broker)
    run_to_balance(broker, second)
    second.crash()
    assert sorted(prediction.revision for prediction in predictions(broker)) == [0, 1]


def test_an_answer_that_failed_is_not_amended(broker: MemoryBroker) -> None:
    one = replica(broker, StubPredictor(lambda samples: any(sample.image is None for sample in samples)))
    publish(broker, b"a", SPEECH, SENSOR)
    run_to_balance(broker, one)
    publish(broker, b"a", IMAGE)
    run_to_balance(broker, one)
    one.crash()
    assert predictions(broker) == []
    assert reasons(broker) == [Reason.INFERENCE_FAILED, Reason.INFERENCE_FAILED, Reason.LATE]


def test_an_amendment_of_an_answer_that_then_fails_is_late(broker: MemoryBroker) -> None:
    """The missing input comes while the model is still at the partial answer."""
    at_work, go = threading.Event(), threading.Event()

    def fails_slowly(samples: Sequence[Sample]) -> bool:
        if all(sample.image is not None for sample in samples):
            return False
        at_work.set()
        return go.wait(30)

    one = replica(broker, StubPredictor(fails_slowly))
    publish(broker, b"a", SPEECH, SENSOR)
    run_until(at_work.is_set, one)
    publish(broker, b"a", IMAGE)
    lane = one.consumer._lanes.get(partition_of(b"a", broker.partitions))
    assert lane is not None
    run_until(lambda: lane.unfinished(IMAGE) == 1, one)
    go.set()
    run_to_balance(broker, one)
    one.crash()
    assert sorted(reasons(broker)) == [Reason.INFERENCE_FAILED, Reason.INFERENCE_FAILED, Reason.LATE]


def test_a_broken_missing_input_amends_nothing(broker: MemoryBroker, fusion: Replica) -> None:
    publish(broker, b"a", SPEECH, SENSOR)
    run_to_balance(broker, fusion)
    broker.publish(SETTINGS.topics.source(IMAGE), b"a", encoded(IMAGE, NOW_MS).replace(b"PNG", b"GNP"))
    run_to_balance(broker, fusion)
    assert len(predictions(broker)) == 1
    assert reasons(broker) == [Reason.INVALID]


def test_one_of_three_is_incomplete(broker: MemoryBroker, fusion: Replica) -> None:
    publish(broker, b"a", IMAGE)
    run_to_balance(broker, fusion)
    (letter,) = dead_letters(broker)
    assert letter.reason is Reason.INCOMPLETE
    assert (letter.key, letter.value) == (b"a", encoded(IMAGE, NOW_MS))


def test_a_duplicate_and_a_late_record(broker: MemoryBroker, fusion: Replica) -> None:
    publish(broker, b"a", SPEECH, IMAGE, SENSOR, SENSOR)
    run_to_balance(broker, fusion)
    lane = fusion.consumer._lanes.get(partition_of(b"a", broker.partitions))
    assert lane is not None
    run_until(lambda: lane.watermark_ms is not None, fusion)
    publish(broker, b"a", SPEECH, at_ms=NOW_MS - 10_000)
    run_to_balance(broker, fusion)
    assert reasons(broker) == [Reason.DUPLICATE, Reason.LATE]


POISON = [
    ("random bytes", b"a", b"\x07garbage", Reason.UNDECODABLE),
    ("no value", b"a", None, Reason.UNDECODABLE),
    ("a cut record", b"a", encoded(SPEECH, NOW_MS)[:-1], Reason.UNDECODABLE),
    ("another topic's schema", b"a", encoded(IMAGE, NOW_MS), Reason.UNDECODABLE),
    ("no key", None, encoded(SPEECH, NOW_MS), Reason.INVALID),
    ("a key that is too long", b"k" * 257, encoded(SPEECH, NOW_MS), Reason.INVALID),
    ("a key that is not UTF-8", b"\xff\xfe", encoded(SPEECH, NOW_MS), Reason.INVALID),
    ("a time in the future", b"a", encoded(SPEECH, NOW_MS + 10**7), Reason.CLOCK_SKEW),
    ("an oversized value", b"a", b"x" * (SETTINGS.topics.max_record_bytes + 1), Reason.TOO_LARGE),
]


@pytest.mark.parametrize(("key", "value", "reason"), [case[1:] for case in POISON], ids=[case[0] for case in POISON])
def test_poison_is_set_aside_and_harms_nobody(
    broker: MemoryBroker, fusion: Replica, key: bytes | None, value: bytes | None, reason: Reason
) -> None:
    broker.publish(SETTINGS.topics.source(SPEECH), key, value)
    publish(broker, b"a", SPEECH, IMAGE, SENSOR)
    run_to_balance(broker, fusion)
    assert reasons(broker) == [reason]
    assert [prediction.modalities for prediction in predictions(broker)] == [(SPEECH, IMAGE, SENSOR)]
    too_large = reason is Reason.TOO_LARGE
    assert dead_letters(broker)[0].value == (None if too_large else value)


def test_a_record_in_the_wrong_partition_is_misrouted(broker: MemoryBroker, fusion: Replica) -> None:
    right = broker.publish(SETTINGS.topics.source(SPEECH), b"a", encoded(SPEECH, NOW_MS)).partition
    broker.publish(SETTINGS.topics.source(IMAGE), b"a", encoded(IMAGE, NOW_MS), partition=1 - right)
    publish(broker, b"a", SENSOR)
    run_to_balance(broker, fusion)
    assert reasons(broker) == [Reason.MISROUTED]
    assert [prediction.modalities for prediction in predictions(broker)] == [(SPEECH, SENSOR)]


def test_media_that_do_not_decode_leave_the_rest_of_their_moment(broker: MemoryBroker, fusion: Replica) -> None:
    no_picture = encoded(IMAGE, NOW_MS).replace(b"PNG", b"GNP")
    broker.publish(SETTINGS.topics.source(IMAGE), b"a", no_picture)
    publish(broker, b"a", SPEECH, SENSOR)
    run_to_balance(broker, fusion)
    assert reasons(broker) == [Reason.INVALID]
    assert [prediction.modalities for prediction in predictions(broker)] == [(SPEECH, SENSOR)]


def test_a_moment_with_too_few_usable_media_is_incomplete(broker: MemoryBroker, fusion: Replica) -> None:
    no_picture = encoded(IMAGE, NOW_MS).replace(b"PNG", b"GNP")
    broker.publish(SETTINGS.topics.source(IMAGE), b"a", no_picture)
    publish(broker, b"a", SPEECH)
    run_to_balance(broker, fusion)
    assert sorted(reasons(broker)) == [Reason.INCOMPLETE, Reason.INVALID]


def test_only_the_moment_that_the_model_cannot_answer_fails(broker: MemoryBroker) -> None:
    def has_culprit(samples: Sequence[Sample]) -> bool:
        return any(sample.image is None for sample in samples)

    one = replica(broker, StubPredictor(has_culprit))
    for number in range(6):
        publish(broker, b"k%d" % number, SPEECH, IMAGE, SENSOR)
    publish(broker, b"culprit", SPEECH, SENSOR)
    run_to_balance(broker, one)
    one.crash()
    assert reasons(broker) == [Reason.INFERENCE_FAILED] * 2
    assert len(predictions(broker)) == 6


def test_a_refused_commit_is_done_again_from_what_is_committed(broker: MemoryBroker, fusion: Replica) -> None:
    for number in range(20):
        publish(broker, b"k%d" % number, SPEECH, IMAGE, SENSOR)
    broker.endings.extend([Ending.ABORTED] * 3)
    run_to_balance(broker, fusion)
    assert not broker.endings
    assert len(predictions(broker)) == 20


def test_a_crash_loses_and_doubles_nothing(broker: MemoryBroker) -> None:
    for number in range(30):
        publish(broker, b"k%d" % number, SPEECH, IMAGE, SENSOR, at_ms=NOW_MS + number)
        publish(broker, b"lone%d" % number, SPEECH, at_ms=NOW_MS + number)
    first = replica(broker)
    run_until(lambda: len(predictions(broker)) >= 10, first)
    first.crash()
    second = replica(broker)
    run_to_balance(broker, second)
    second.crash()


def test_replicas_share_the_lanes_and_hand_them_over(broker: MemoryBroker) -> None:
    first = replica(broker)
    for number in range(20):
        publish(broker, b"k%d" % number, SPEECH, IMAGE, SENSOR)
    run_until(lambda: len(predictions(broker)) > 0, first)
    second = replica(broker)
    for number in range(20, 40):
        publish(broker, b"k%d" % number, SPEECH, IMAGE, SENSOR)
    run_to_balance(broker, first, second)
    first.crash()
    second.crash()


def test_what_is_committed_needs_no_reading_again(broker: MemoryBroker) -> None:
    publish(broker, b"a", SPEECH, IMAGE, SENSOR)
    publish(broker, b"waiting", SPEECH, at_ms=NOW_MS + 5)
    first = replica(broker)
    run_until(lambda: len(predictions(broker)) == 1, first)
    first.crash()
    lane = [where for where in broker.committed if where.topic == SETTINGS.topics.source(IMAGE)]
    assert {broker.committed[where].offset for where in lane} == {
        len(broker.logs.get(TopicPartition(where.topic, where.partition), [])) for where in lane
    }
