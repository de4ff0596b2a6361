"""Kafka's errors as ours: what is tried again, what ends the process, and what to do."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from pipeline.kafka.errors import AbortNeeded, Fatal, Fenced, KafkaFailure, Retriable, is_passing, translated


def error(code: int, **flags: bool) -> KafkaError:
    return KafkaError(code, "as the client says", **flags)


CASES = [
    (error(KafkaError._TIMED_OUT), Retriable),
    (error(KafkaError._TRANSPORT), Retriable),
    (error(KafkaError.COORDINATOR_LOAD_IN_PROGRESS), Retriable),
    (error(KafkaError.NOT_COORDINATOR), Retriable),
    (error(KafkaError.UNSTABLE_OFFSET_COMMIT), Retriable),
    (error(KafkaError.OFFSET_NOT_AVAILABLE), Retriable),
    (error(KafkaError._DESTROY_BROKER), Retriable),
    (error(KafkaError.INVALID_MSG, retriable=True), Retriable),
    (error(KafkaError.ILLEGAL_GENERATION, txn_requires_abort=True), AbortNeeded),
    (error(KafkaError._TIMED_OUT, txn_requires_abort=True), AbortNeeded),
    (error(KafkaError._FENCED, fatal=True), Fenced),
    (error(KafkaError.INVALID_PRODUCER_EPOCH, txn_requires_abort=True), Fenced),
    (error(KafkaError._FATAL), Fatal),
    (error(KafkaError._TIMED_OUT, fatal=True), Fatal),
    (error(KafkaError.TOPIC_AUTHORIZATION_FAILED), Fatal),
]


@pytest.mark.parametrize(("problem", "kind"), CASES)
def test_kinds(problem: KafkaError, kind: type[KafkaFailure]) -> None:
    for given in (problem, KafkaException(problem)):
        failure = translated(given, "committing")
        assert type(failure) is kind
        assert str(failure).startswith("While committing: as the client says")
    assert is_passing(problem) is (kind is Retriable)


def test_the_next_step_is_named() -> None:
    assert "run `trimodal topics create`" in str(translated(error(KafkaError.UNKNOWN_TOPIC_OR_PART), "reading"))
    assert "--replica" in str(translated(error(KafkaError._FENCED, fatal=True), "committing"))
