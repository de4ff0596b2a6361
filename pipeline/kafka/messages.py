"""The client's messages as ours."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, repeat
from operator import itemgetter

from confluent_kafka import Message as ClientMessage

from pipeline.events.rows import row_maker
from pipeline.kafka.contract import Delivery, Headers, Message

Content = str | bytes | None
_MILLISECONDS = itemgetter(1)
_message = row_maker(Message)
_PLACE = itemgetter(Message._fields.index("topic"), Message._fields.index("partition"))


def received(message: ClientMessage) -> Message:
    """Returns a delivered record; the caller has looked at `message.error()` first."""
    return _received([message])[0]


def deliveries(messages: Iterable[ClientMessage]) -> Iterator[Delivery]:
    """Yields delivered records, those of one partition together as the client had them."""
    for (topic, partition), run in groupby(_received(list(messages)), key=_PLACE):
        yield Delivery(topic, partition, list(run))


def _received(messages: Sequence[ClientMessage]) -> list[Message]:
    """Returns delivered records. Field by field, since that takes no call of Python's own for any of them."""
    headers = list(map(ClientMessage.headers, messages))
    rows = zip(
        map(ClientMessage.topic, messages),
        map(ClientMessage.partition, messages),
        map(ClientMessage.offset, messages),
        map(_MILLISECONDS, map(ClientMessage.timestamp, messages)),
        map(ClientMessage.key, messages),
        map(ClientMessage.value, messages),
        map(_pairs, headers) if any(headers) else repeat(()),
        strict=False,
    )
    return list(map(_message, rows))


def _pairs(headers: Mapping[str, Content] | Sequence[tuple[str, Content]] | None) -> Headers:
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    return tuple((name, content.encode() if isinstance(content, str) else content or b"") for name, content in pairs)
