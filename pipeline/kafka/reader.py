"""Reads topics from outside any group: up to their ends, or on and on as records come."""

import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import Message as ClientMessage
from confluent_kafka import TopicPartition as ClientTopicPartition

from pipeline.kafka.clients import Properties, common
from pipeline.kafka.contract import EndOfPartition, Message, TopicPartition
from pipeline.kafka.errors import Fatal, Retriable, explain, is_passing, translated
from pipeline.kafka.messages import received
from pipeline.settings import KafkaSettings
from pipeline.telemetry.logs import logger

READ_RECORDS = 1_000
_STEP_S = 0.5
_log = logger(__name__)


class TopicReader:
    """Reads committed records of any partitions; no group ever sees it, and it commits nothing.

    A context manager: leaving it closes the client. Not for several threads. `pipeline.kafka.offsets.OffsetQueries`
    knows partitions and the offsets to begin and end at.

    Args:
        kafka: the brokers.
        role: what is read for, for the brokers' logs.
        ahead_bytes: how much is fetched of a partition before it is asked for; little where single records are read.
    """

    def __init__(self, kafka: KafkaSettings, role: str, ahead_bytes: int = 8 * 2**20) -> None:
        self._patience_s = (kafka.call_timeout_ms + kafka.transaction_timeout_ms) / 1_000
        try:
            self._consumer = Consumer(_properties(kafka, role, ahead_bytes))
        except (KafkaException, ValueError) as error:
            raise Fatal(f"The Kafka client refuses its settings ({error}): check kafka.client_options.") from error

    def read(self, ranges: Mapping[TopicPartition, range], count: int = READ_RECORDS) -> Iterator[Sequence[Message]]:
        """Yields the committed records at these offsets, each partition's in its order.

        A range is read when a record at or after its end has come, or the end of the partition there: transaction
        markers and aborted records at the end are passed over, and silence proves nothing. Records that retention
        deletes meanwhile are missing. Where a transaction is open within a range, its end is waited for.

        Args:
            ranges: offsets to read of each partition.
            count: most records in one batch.

        Raises:
            Retriable: for `kafka.call_timeout_ms` + `kafka.transaction_timeout_ms` nothing has come.
            Fatal: a partition cannot be read.
        """
        ends = {(where.topic, where.partition): offsets.stop for where, offsets in ranges.items() if offsets}
        reached: dict[tuple[str, int], int] = {}
        self.follow({where: offsets.start for where, offsets in ranges.items() if offsets})
        heard_s = time.monotonic()
        while ends:
            batch: list[Message] = []
            for arrival in self._consume(count, _STEP_S):
                heard_s = time.monotonic()
                place = (arrival.topic, arrival.partition)
                if (end := ends.get(place)) is None:
                    continue
                match arrival:
                    case Message(offset=offset):
                        reached[place] = offset + 1
                        if offset < end:
                            batch.append(arrival)
                    case EndOfPartition(offset=offset):
                        reached[place] = offset
                if reached[place] >= end:
                    del ends[place]
                    self._consumer.pause([ClientTopicPartition(*place)])
            if batch:
                yield batch
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > self._patience_s:
                raise self._stalled(ends, reached)

    def follow(self, begins: Mapping[TopicPartition, int]) -> None:
        """Reads from these offsets on, with `poll`. Partitions that are added later are not followed."""
        try:
            self._consumer.assign(
                [ClientTopicPartition(where.topic, where.partition, offset) for where, offset in begins.items()]
            )
        except KafkaException as error:
            raise translated(error, "taking partitions to read") from error

    def poll(self, count: int, timeout_s: float) -> Sequence[Message]:
        """Returns up to `count` records of those followed; waits at most `timeout_s` for the first.

        Raises:
            Fatal: a partition cannot be read.
        """
        return [arrival for arrival in self._consume(count, timeout_s) if isinstance(arrival, Message)]

    def close(self) -> None:
        """Closes the client."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _consume(self, count: int, timeout_s: float) -> list[Message | EndOfPartition]:
        try:
            first = self._consumer.poll(timeout_s)
            # consume() waits its whole timeout for a full batch, so the rest is asked for without one.
            rest = self._consumer.consume(count - 1, 0) if first is not None and count > 1 else []
        except KafkaException as error:
            raise translated(error, "reading") from error
        batch = [first, *rest] if first is not None else rest
        return [arrival for message in batch if (arrival := _arrival(message)) is not None]

    def _stalled(self, ends: Mapping[tuple[str, int], int], reached: Mapping[tuple[str, int], int]) -> Retriable:
        (topic, partition), end = next(iter(ends.items()))
        at = reached.get((topic, partition))
        return Retriable(
            f"Reading {topic}[{partition}] up to offset {end} stands at {'its beginning' if at is None else at} since "
            f"{self._patience_s:.0f} s. Either its leader does not answer (`trimodal stack status`, the broker's log), "
            "or a transaction there is still open: it ends when its producer does, at the latest after that producer's "
            "transaction.timeout.ms. Then run this again."
        )


def _arrival(message: ClientMessage) -> Message | EndOfPartition | None:
    """Returns what has come; None for an error that passes."""
    if (error := message.error()) is None:
        return received(message)
    if error.code() == KafkaError._PARTITION_EOF:
        return EndOfPartition(message.topic() or "", message.partition() or 0, message.offset() or 0)
    # A fatal error comes once, as a message with the code _FATAL whose own fatal() is False, then silence.
    if is_passing(error):
        _log.warning("kafka reader", problem=explain(error))
        return None
    failure = translated(error, f"reading {message.topic() or 'topics'}")
    raise failure if isinstance(failure, Fatal) else Fatal(str(failure))


def _properties(kafka: KafkaSettings, role: str, ahead_bytes: int) -> Properties:
    """Returns what may be overridden by kafka.client_options first, and what may not last."""
    return {
        "fetch.wait.max.ms": 50,
        "fetch.queue.backoff.ms": 10,  # its default of 1,000 would be waited for whenever the queue is full
        "fetch.error.backoff.ms": 100,
        "fetch.message.max.bytes": min(2 * 2**20, ahead_bytes),
        "queued.max.messages.kbytes": ahead_bytes // 2**10,
        **common(kafka, role),
        "group.id": f"{kafka.group}-{role}",  # the client wants one; nothing joins it or commits for it
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
    }
