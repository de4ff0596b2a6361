"""The client's messages as ours."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, groupby
from operator import itemgetter
from typing import cast

from confluent_kafka import KafkaError
from confluent_kafka import Message as ClientMessage

from pipeline.events.records import Headers
from pipeline.kafka.contract import Arrivals, Delivery, EndOfPartition, Message, TopicPartition
from pipeline.kafka.errors import UNKNOWN_FOR_NOW, Fatal, explain, is_passing, translated
from pipeline.telemetry.logs import logger

Content = str | bytes | None
_MILLISECONDS, _CONTENT = itemgetter(1), itemgetter(1)
_log = logger(__name__)


def received(message: ClientMessage) -> Message:
    """Returns a delivered record; the caller has looked at `message.error()` first."""
    return next(deliveries([message])).message(0)


def deliveries(messages: Sequence[ClientMessage]) -> Iterator[Delivery]:
    """Yields delivered records, those of one partition together as the client had them.

    Column by column, since that takes no call of Python's own for any record.
    """
    places = zip(map(ClientMessage.topic, messages), map(ClientMessage.partition, messages), strict=True)
    offsets = [offset or 0 for offset in map(ClientMessage.offset, messages)]
    timestamps_ms = list(map(_MILLISECONDS, map(ClientMessage.timestamp, messages)))
    keys = list(map(ClientMessage.key, messages))
    values = list(map(ClientMessage.value, messages))
    pairs = _pairs(list(map(ClientMessage.headers, messages)))
    start = 0
    for (topic, partition), run in groupby(places):
        end = start + len(list(run))
        here = slice(start, end)
        where = TopicPartition(topic or "", partition or 0)
        yield Delivery(where, offsets[here], timestamps_ms[here], keys[here], values[here], pairs[here])
        start = end


def arrivals(batch: Sequence[ClientMessage]) -> Arrivals:
    """Returns what a poll of the client has brought.

    Raises:
        Fatal: one of them is an error that does not pass.
    """
    if not any(map(ClientMessage.error, batch)):
        return Arrivals(list(deliveries(batch)))
    brought: list[Delivery] = []
    ends: dict[TopicPartition, EndOfPartition] = {}
    for has_come, run in groupby(batch, lambda message: message.error() is None):
        if has_come:
            for delivery in deliveries(list(run)):
                brought.append(delivery)
                ends.pop(delivery.where, None)
        else:
            ends |= {TopicPartition(end.topic, end.partition): end for end in filter(None, map(_end, run))}
    return Arrivals(brought, list(ends.values()))


def _end(message: ClientMessage) -> EndOfPartition | None:
    """Returns the end of a partition that the client tells of; None for an error that passes."""
    error = message.error()
    assert error is not None
    topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
    if error.code() == KafkaError._PARTITION_EOF:
        return EndOfPartition(topic, partition, offset)
    # A fatal error comes once, as a message whose own fatal() is False, then silence.
    if error.code() == KafkaError._AUTO_OFFSET_RESET:
        raise Fatal(f"{topic}[{partition}] no longer holds the offset to read next ({error.str()}): restart.")
    if error.code() == KafkaError._MAX_POLL_EXCEEDED or error.code() in UNKNOWN_FOR_NOW or is_passing(error):
        _log.warning("kafka consumer", problem=explain(error))
        return None
    failure = translated(error, f"consuming {topic or 'the source topics'}")
    raise failure if isinstance(failure, Fatal) else Fatal(str(failure))


def _pairs(headers: Sequence[Mapping[str, Content] | Sequence[tuple[str, Content]] | None]) -> Sequence[Headers]:
    """Returns the headers of each record, or none if no record has any. What has no content is empty."""
    if not any(headers):
        return ()
    given = [tuple(each.items() if isinstance(each, Mapping) else each or ()) for each in headers]
    if set(map(type, map(_CONTENT, chain.from_iterable(given)))) == {bytes}:
        return cast("Sequence[Headers]", given)
    return [tuple([(name, _bytes(content)) for name, content in pairs]) for pairs in given]


def _bytes(content: Content) -> bytes:
    return content.encode() if isinstance(content, str) else content or b""
