"""What the producer says when records cannot be delivered. Without a broker; the client is the real one."""

import pytest

from pipeline.kafka.contract import Output
from pipeline.kafka.errors import Fatal, KafkaFailure
from pipeline.kafka.producer import RecordProducer, Undelivered
from pipeline.settings import KafkaSettings

NOBODY = KafkaSettings(bootstrap_servers="127.0.0.1:1", delivery_timeout_ms=1_000)


def producer(settings: KafkaSettings = NOBODY) -> RecordProducer:
    return RecordProducer(settings, "test", max_message_bytes=10_000)


def test_flush_counts_what_is_unanswered() -> None:
    sender = producer(NOBODY.model_copy(update={"delivery_timeout_ms": 60_000}))
    for number in range(3):
        sender.publish(Output("speech", b"%d" % number, b"value"))
    with pytest.raises(Undelivered, match=r"3 records were still unanswered after 0\.05 s") as caught:
        sender.flush(0.05)
    assert caught.value.unanswered == 3
    sender.flush(0.05)


def test_records_that_are_given_up_are_named() -> None:
    sender = producer()
    for key in (b"k1", b"\xff", None):
        sender.publish(Output("speech", key, b"value"))
    with pytest.raises(Undelivered, match="3 records were not delivered, first a record of speech") as caught:
        sender.flush()
    assert {failure.key for failure in caught.value.failures} == {b"k1", b"\xff", None}
    assert "_MSG_TIMED_OUT" in caught.value.failures[0].reason
    assert caught.value.unanswered == 0


def test_a_full_queue_is_waited_for_and_its_failures_come_out() -> None:
    options = {"queue.buffering.max.messages": "5"}
    sender = producer(NOBODY.model_copy(update={"client_options": options}))
    for number in range(5):
        sender.publish(Output("speech", b"%d" % number, b"value"))
    with pytest.raises(Undelivered):
        sender.publish(Output("speech", b"5", b"value"))


def test_an_outage_of_minutes_is_sat_out() -> None:
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1", call_timeout_ms=1_000)
    sender = producer(settings)
    sender.publish(Output("speech", b"k", b"value"))
    with pytest.raises(Undelivered, match="1 record was still unanswered after 2 s") as caught:
        sender.flush(2)
    assert caught.value.failures == (), "not given up after the time for a call"
    assert settings.delivery_timeout_ms >= 120_000


def test_a_record_over_the_limit_is_refused_at_once() -> None:
    with (
        producer() as sender,
        pytest.raises(KafkaFailure, match=r"publishing to speech with the key 'k'.*max_record_bytes"),
    ):
        sender.publish(Output("speech", b"k", bytes(20_000)))


def test_leaving_with_an_error_keeps_that_error() -> None:
    def publish_and_fail() -> None:
        with producer() as sender:
            sender.publish(Output("speech", b"k", b"value"))
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        publish_and_fail()


def test_leaving_flushes() -> None:
    with pytest.raises(Undelivered), producer() as sender:
        sender.publish(Output("speech", b"k", b"value"))


def test_a_wrong_client_option_is_named() -> None:
    with pytest.raises(Fatal, match=r"no\.such\.option.*kafka\.client_options"):
        producer(NOBODY.model_copy(update={"client_options": {"no.such.option": "1"}}))


def test_options_that_carry_the_guarantees_cannot_be_overridden() -> None:
    options = {"partitioner": "random", "acks": "0", "linger.ms": "50"}
    with pytest.raises(Fatal, match="client_options sets acks, partitioner"):
        producer(NOBODY.model_copy(update={"client_options": options}))
