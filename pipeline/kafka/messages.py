"""The client's messages as ours."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from confluent_kafka import Message as ClientMessage

from pipeline.events.rows import row_maker
from pipeline.kafka.contract import Delivery, Headers, Message

Content = str | bytes | None
_message = row_maker(Message)
_PLACE = itemgetter(Message._fields.index("topic"), Message._fields.index("partition"))


def received(message: ClientMessage) -> Message:
    """Returns a delivered record; the caller has looked at `message.error()` first."""
    return _message(
        (
            message.topic(),
            message.partition(),
            message.offset(),
            message.timestamp()[1],
            message.key(),
            message.value(),
            _pairs(headers) if (headers := message.headers()) else (),
        )
    )


def deliveries(messages: Iterable[ClientMessage]) -> Iterator[Delivery]:
    """Yields delivered records, those of one partition together as the client had them."""
    for (topic, partition), run in groupby(map(received, messages), key=_PLACE):
        yield Delivery(topic, partition, list(run))


def _pairs(headers: Mapping[str, Content] | Sequence[tuple[str, Content]]) -> Headers:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return tuple((name, content.encode() if isinstance(content, str) else content or b"") for name, content in pairs)
