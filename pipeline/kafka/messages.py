"""The client's messages as ours."""

from confluent_kafka import Message as ClientMessage

from pipeline.kafka.contract import Headers, Message


def received(message: ClientMessage) -> Message:
    """Returns a delivered record; the caller has looked at `message.error()` first."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    key, value = message.key(), message.value()
    return Message(topic, partition, offset, message.timestamp()[1], _raw(key), _raw(value), _headers(message))


def _headers(message: ClientMessage) -> Headers:
    headers = message.headers()
    if not headers:
        return ()
    pairs = headers.items() if isinstance(headers, dict) else headers
    return tuple((name, _raw(value) or b"") for name, value in pairs)


def _raw(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content
