"""Faust's Kafka transport, for topics that transactions write to and positions that the state knows."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import aiokafka
import faust
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP
from yarl import URL

Positions = Callable[[], Mapping[int, int]]


class CommittedTransport(Transport):
    """Reads what is committed, from where the state left off.

    Args:
        brokers: as Faust has them.
        app: as Faust has it.
        source: the topic that is read.
        positions: partition of the source → the offset that the state goes on from; it may change.
        start: where a group that has neither state nor committed offsets begins.
    """

    def __init__(
        self,
        brokers: list[URL],
        app: faust.App,
        source: str,
        positions: Positions,
        start: Literal["earliest", "latest"],
    ) -> None:
        super().__init__(brokers, app)
        self.source = source
        self.positions = positions
        self.start = start


class CommittedConsumer(Consumer):
    """Faust's consumer with four things put right."""

    transport: CommittedTransport

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return CommittedConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Seeks the source to where reading goes on, and commits this where the group has committed less.

        Faust would go on from the committed offsets, and leave a partition that has none wherever prefetching has got
        to: its records up to there would be lost. It also commits nothing after a gap behind the last commit.
        """
        await super().perform_seek()
        mine = [where for where in self.assignment() if where.topic == self.transport.source]
        starts = {where: offset for where in mine if (offset := self._committed_offset[where]) is not None}
        unknown = [where for where in mine if where not in starts]
        begins = await (self.earliest_offsets if self.transport.start == "earliest" else self.highwaters)(*unknown)
        starts |= {TP(*where): offset for where, offset in begins.items()}
        known = self.transport.positions()
        starts |= {where: known[where.partition] for where in mine if where.partition in known}
        await self.seek_wait(starts)
        behind = {where: offset for where, offset in starts.items() if (self._committed_offset[where] or 0) < offset}
        if behind:
            await self._commit(behind)
            self._committed_offset.update(behind)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        """Fetches records of the partitions that are active now.

        Faust hands over the very set that it goes on changing, and aiokafka takes an empty one for all partitions: a
        fetch under way while Faust pauses and resumes would hand out records of a partition that is paused, of which
        Faust drops the first and, once it has resumed the partition, takes the others. That lost single records.
        """
        if active_partitions is None:
            return await super()._getmany(None, timeout)
        active_now = set(active_partitions)
        return await super()._getmany(active_now, timeout) if active_now else {}

    def backlog(self) -> dict[TP, int]:
        """Returns how many records of each partition of the source are still to be fetched, as of its last fetch.

        Faust knows the last record that it was given, behind which there are the markers of transactions.
        """
        thread = self._thread
        assert isinstance(thread, CommittedConsumerThread)
        return {where: records for where, records in thread.backlog().items() if where.topic == self.transport.source}

    async def verify_all_partitions_active(self) -> None:
        """Does nothing: Faust's watch for stalled partitions takes transaction markers for records never processed."""


class CommittedConsumerThread(AIOKafkaConsumerThread):
    """Reads committed records only; Faust does so only where it writes transactions itself."""

    def _create_worker_consumer(self, transport: Transport) -> aiokafka.AIOKafkaConsumer:
        client = super()._create_worker_consumer(transport)
        client._isolation_level = "read_committed"
        return client

    def backlog(self) -> dict[TP, int]:
        """Returns how many records of each assigned partition are still to be fetched, as of its last fetch."""
        assigned = self._ensure_consumer()._subscription.subscription.assignment
        if assigned is None:
            return {}
        states = {TP(*where): assigned.state_value(where) for where in assigned.tps}
        return {
            where: max(0, state.highwater - state.position)
            for where, state in states.items()
            if state.has_valid_position and state.highwater is not None
        }


CommittedTransport.Consumer = CommittedConsumer
