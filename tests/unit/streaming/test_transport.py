"""What is put right in Faust's consumer, where it can be shown without a broker."""

import asyncio
from typing import Any

from faust.types import TP

from consumers.streaming.transport import CommittedConsumer


class Thread:
    """Fetches until it is told to return, as the consumer's thread does, and says for which partitions."""

    def __init__(self) -> None:
        self.fetching = asyncio.Event()
        self.enough = asyncio.Event()
        self.calls = 0

    async def getmany(self, active: set[TP], timeout: float) -> set[TP]:
        self.calls += 1
        self.fetching.set()
        await self.enough.wait()
        return active


def _consumer(thread: Thread) -> Any:
    consumer: Any = CommittedConsumer.__new__(CommittedConsumer)
    consumer._thread = thread
    return consumer


def test_a_fetch_under_way_does_not_follow_what_is_paused_and_resumed_meanwhile() -> None:
    async def fetched() -> set[TP]:
        thread, active = Thread(), {TP("changelog", 0)}
        fetch = asyncio.ensure_future(_consumer(thread)._getmany(active, 1.0))
        await thread.fetching.wait()
        active.clear()
        active.add(TP("predictions", 0))
        thread.enough.set()
        found: set[TP] = await fetch
        return found

    assert asyncio.run(fetched()) == {TP("changelog", 0)}


def test_nothing_is_fetched_while_no_partition_is_active() -> None:
    async def calls() -> int:
        thread = Thread()
        thread.enough.set()
        assert await _consumer(thread)._getmany(set(), 1.0) == {}
        return thread.calls

    assert asyncio.run(calls()) == 0
