"""The client's messages as ours."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from confluent_kafka import Message as ClientMessage

from pipeline.events.records import Headers
from pipeline.kafka.contract import Delivery, Message, TopicPartition

Content = str | bytes | None
_MILLISECONDS = itemgetter(1)


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
    headers = list(map(ClientMessage.headers, messages))
    pairs = list(map(_pairs, headers)) if any(headers) else []
    start = 0
    for (topic, partition), run in groupby(places):
        end = start + len(list(run))
        here = slice(start, end)
        where = TopicPartition(topic or "", partition or 0)
        yield Delivery(where, offsets[here], timestamps_ms[here], keys[here], values[here], pairs[here])
        start = end


def _pairs(headers: Mapping[str, Content] | Sequence[tuple[str, Content]] | None) -> Headers:
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    return tuple((name, content.encode() if isinstance(content, str) else content or b"") for name, content in pairs)
