"""What the broker knows of a consumer group, and how its positions are set anew."""

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupState, KafkaException
from confluent_kafka import TopicPartition as ClientTopicPartition
from confluent_kafka.admin import AdminClient

from pipeline.kafka.clients import common
from pipeline.kafka.contract import Committed, TopicPartition
from pipeline.kafka.errors import Fatal, Retriable, translated, unanswered
from pipeline.settings import KafkaSettings

_ATTEMPT_S = 5.0
_BETWEEN_S = 0.2


def members(kafka: KafkaSettings, group: str) -> tuple[str, ...]:
    """Returns the replicas that are in a group, also those whose session has not ended yet.

    Raises:
        KafkaFailure: no broker answers.
    """
    return tuple(_name(member) for member in _describe(kafka, group).members)


def assigned(kafka: KafkaSettings, group: str) -> dict[str, int]:
    """Returns how many partitions each member has, by its replica name; nothing while the group rebalances.

    Raises:
        KafkaFailure: no broker answers.
    """
    description = _describe(kafka, group)
    if description.state != ConsumerGroupState.STABLE:
        return {}
    return {_name(member): len(member.assignment.topic_partitions) for member in description.members}


def _describe(kafka: KafkaSettings, group: str) -> Any:
    """Asks anew every few seconds: a broker whose coordinator is still starting may leave the first one unanswered."""
    doing, timeout_s = f"describing the group {group}", kafka.call_timeout_ms / 1_000
    attempt_s, deadline = min(_ATTEMPT_S, timeout_s), time.monotonic() + timeout_s
    while True:
        try:
            admin = AdminClient(common(kafka, "groups"))
            return admin.describe_consumer_groups([group], request_timeout=attempt_s)[group].result(attempt_s)
        except (KafkaException, TimeoutError) as error:
            failure = translated(error, doing) if isinstance(error, KafkaException) else unanswered(doing, timeout_s)
            if not isinstance(failure, Retriable) or time.monotonic() + attempt_s > deadline:
                raise failure from error
        time.sleep(_BETWEEN_S)


def _name(member: Any) -> str:
    return str(member.group_instance_id or member.member_id)


def reset(kafka: KafkaSettings, group: str, offsets: Mapping[TopicPartition, Committed]) -> None:
    """Commits these positions for a group that nobody is in.

    Raises:
        Fatal: a member is still there, or its session has not ended.
        KafkaFailure: no broker answers.
    """
    consumer = Consumer({**common(kafka, "reset"), "group.id": group, "enable.auto.commit": False})
    wanted = [
        ClientTopicPartition(where.topic, where.partition, position.offset, position.metadata)
        for where, position in offsets.items()
    ]
    try:
        answers = consumer.commit(offsets=wanted, asynchronous=False) or []
        for answer in answers:
            if answer.error is not None:
                raise KafkaException(answer.error)
    except KafkaException as error:
        failure = translated(error, f"resetting the group {group}")
        raise Fatal(
            f"{failure} Stop all its replicas first; a static member stays until its session ends "
            f"(kafka.session_timeout_ms, {kafka.session_timeout_ms / 1_000:.0f} s)."
        ) from error
    finally:
        consumer.close()
