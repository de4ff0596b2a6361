import time
from collections.abc import Sequence

import pytest
from confluent_kafka import Producer

from pipeline.kafka.contract import Message, TopicPartition
from pipeline.kafka.errors import Fatal
from pipeline.kafka.subscriber import KafkaSubscriber
from pipeline.settings import KafkaSettings
from pipeline.stack import StackAddresses
from tests.support.indexing import Workplace, attempts, polled
from tests.support.predictions import a_prediction

pytestmark = pytest.mark.stack
COUNT = 300


@pytest.fixture
def workplace(stack: StackAddresses) -> Workplace:
    place = Workplace.made(stack)
    place.publish(a_prediction(number) for number in range(COUNT))
    return place


def _subscriber(place: Workplace, replica: str = "one") -> KafkaSubscriber:
    kafka = place.settings.kafka.model_copy(update={"replica": replica})
    return KafkaSubscriber(kafka, f"{kafka.group}-reader", place.settings.topics.predictions)


def _poll_on(*subscribers: KafkaSubscriber) -> None:
    for _ in attempts():
        for subscriber in subscribers:
            subscriber.poll(1, 0.05)


def _places(messages: Sequence[Message]) -> list[str]:
    return sorted(str(message) for message in messages)


def test_a_pause_loses_nothing_and_delivers_nothing(workplace: Workplace) -> None:
    subscriber = _subscriber(workplace)
    first = polled(subscriber, 1)
    subscriber.pause()
    assert [list(subscriber.poll(COUNT, 0.1)) for _ in range(5)] == [[]] * 5
    subscriber.resume()
    messages = first + polled(subscriber, COUNT - len(first))
    assert len(set(_places(messages))) == len(messages) == COUNT
    subscriber.close()


def test_poll_returns_what_is_there_without_waiting_for_a_full_batch(workplace: Workplace) -> None:
    subscriber = _subscriber(workplace)
    polled(subscriber, COUNT)
    workplace.publish([a_prediction(1)])
    started_s = time.monotonic()
    assert len(subscriber.poll(1_000, 20.0)) == 1
    assert time.monotonic() - started_s < 10
    subscriber.close()


def test_the_markers_of_transactions_are_no_backlog(workplace: Workplace) -> None:
    kafka, topic = workplace.settings.kafka, workplace.settings.topics.predictions
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": topic})
    producer.init_transactions()
    producer.begin_transaction()
    for partition in range(workplace.settings.topics.partitions):
        producer.produce(topic, b"", partition=partition)
    producer.commit_transaction()
    subscriber = _subscriber(workplace)
    polled(subscriber, 1)
    assert sum(subscriber.backlog().values()) > 0
    polled(subscriber, COUNT + workplace.settings.topics.partitions - 1)
    for _ in attempts():
        subscriber.poll(1, 0.05)
        if not any(subscriber.backlog().values()):
            break
    assert set(subscriber.backlog().values()) == {0}
    subscriber.close()


def test_after_a_restart_it_goes_on_from_what_is_committed(workplace: Workplace) -> None:
    topic = workplace.settings.topics.predictions
    before = _subscriber(workplace)
    every = polled(before, COUNT)
    done = {TopicPartition(topic, 0): 40, TopicPartition(topic, 1): 7}
    before.commit(done)
    before.close()
    after = _subscriber(workplace)
    expected = [m for m in every if m.offset >= done[TopicPartition(topic, m.partition)]]
    assert _places(polled(after, len(expected))) == _places(expected)
    after.close()


def test_a_rebalance_moves_the_generation_and_a_paused_member_stays_paused(workplace: Workplace) -> None:
    one = _subscriber(workplace, "one")
    polled(one, 1)
    one.pause()
    two = _subscriber(workplace, "two")
    partitions: set[int] = set()
    for _ in attempts():
        assert list(one.poll(COUNT, 0.05)) == []
        partitions |= {message.partition for message in two.poll(COUNT, 0.05)}
        if one.generation and partitions:
            break
    (partition,) = partitions
    # A commit for a partition that has moved on is left out, so that it cannot take its new owner back.
    topic = workplace.settings.topics.predictions
    two.commit({TopicPartition(topic, partition): 9})
    one.commit({TopicPartition(topic, partition): 3})
    two.close()
    again = _subscriber(workplace, "two")
    assert min(message.offset for message in polled(again, 1)) == 9
    one.close()
    again.close()


def test_a_second_process_of_the_same_name_puts_the_first_out(workplace: Workplace) -> None:
    first = _subscriber(workplace)
    polled(first, 1)
    second = _subscriber(workplace)
    with pytest.raises(Fatal, match=r"fenced.*if another process runs as one, give each its own --replica"):
        _poll_on(second, first)
    first.close()
    second.close()


def test_a_topic_that_is_gone_is_fatal(workplace: Workplace) -> None:
    kafka = workplace.settings.kafka
    subscriber = KafkaSubscriber(kafka, f"{kafka.group}-nowhere", "no-such-topic")
    with pytest.raises(Fatal, match=r"no-such-topic.*run `trimodal topics create`"):
        _poll_on(subscriber)
    subscriber.close()


def test_an_unknown_client_option_is_named() -> None:
    with pytest.raises(Fatal, match=r"bogus.*check kafka\.client_options"):
        KafkaSubscriber(KafkaSettings(client_options={"bogus": "1"}), "group", "topic")
