import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from consumers.board.hub import SAMPLES_KEPT, SAMPLES_WAITING, Hub, TooManyViewers

WAIT_S = 10
Told = list[tuple[str, Any]]


def parsed(stream: bytes) -> Told:
    events = []
    for event in stream.decode().split("\n\n")[:-1]:
        kind, data = event.split("\n")
        events.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


async def heard(stream: AsyncIterator[bytes]) -> Told:
    return parsed(await asyncio.wait_for(anext(stream), WAIT_S))


def run(test: Callable[[Hub], Awaitable[None]], max_viewers: int = 4) -> None:
    async def opened() -> None:
        hub = Hub(max_viewers)
        hub.open()
        await test(hub)

    asyncio.run(opened())


async def settled() -> None:
    """What was handed to the loop has been done."""
    done = asyncio.Event()
    asyncio.get_running_loop().call_soon(done.set)
    await done.wait()


def test_a_new_viewer_is_told_what_is_known() -> None:
    async def test(hub: Hub) -> None:
        hub.say("figures", {"rate": 1})
        hub.say("figures", {"rate": 2})
        for number in range(20):
            hub.show("prediction", {"number": number})
        await settled()
        told = await heard(hub.watch())
        kept = range(20 - SAMPLES_KEPT["prediction"], 20)
        assert told == [("figures", {"rate": 2}), *(("prediction", {"number": number}) for number in kept)]

    run(test)


def test_a_glance_is_what_is_known_and_no_more() -> None:
    async def test(hub: Hub) -> None:
        hub.say("figures", {"rate": 2})
        hub.show("letter", {"reason": "LATE"})
        await settled()
        assert parsed(hub.glance()) == [("figures", {"rate": 2}), ("letter", {"reason": "LATE"})]
        assert hub.viewers == 0

    run(test)


def test_a_slow_viewer_gets_the_newest_state_and_loses_the_oldest_samples() -> None:
    async def test(hub: Hub) -> None:
        hub.say("figures", {"rate": 0})
        await settled()
        slow, quick = hub.watch(), hub.watch()
        await heard(slow)
        await heard(quick)
        seen = []
        for number in range(1, 101):
            hub.say("figures", {"rate": number})
            hub.show("prediction", {"number": number})
            await settled()
            seen += await heard(quick)
        assert [content["number"] for kind, content in seen if kind == "prediction"] == list(range(1, 101))
        told = await heard(slow)
        assert told[0] == ("figures", {"rate": 100})
        numbers = [content["number"] for kind, content in told if kind == "prediction"]
        assert numbers == list(range(101 - SAMPLES_WAITING, 101))

    run(test)


def test_other_threads_may_speak() -> None:
    async def test(hub: Hub) -> None:
        stream = hub.watch()
        speaker = threading.Thread(target=hub.show, args=("letter", {"reason": "LATE"}))
        speaker.start()
        assert await heard(stream) == [("letter", {"reason": "LATE"})]
        speaker.join()

    run(test)


def test_there_are_only_so_many_viewers_and_one_who_leaves_makes_room() -> None:
    async def test(hub: Hub) -> None:
        hub.say("figures", {})
        await settled()
        first = hub.watch()
        await heard(first)
        with pytest.raises(TooManyViewers, match=r"board\.max_viewers"):
            hub.watch()
        await first.aclose()  # type: ignore[attr-defined]  # it is a generator
        assert hub.viewers == 0
        hub.watch()

    run(test, max_viewers=1)


def test_closing_ends_every_stream() -> None:
    async def test(hub: Hub) -> None:
        stream = hub.watch()
        waiting = asyncio.ensure_future(anext(stream))
        await settled()
        hub.close()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(waiting, WAIT_S)

    run(test)


def test_what_is_no_number_in_json_is_null() -> None:
    async def test(hub: Hub) -> None:
        stream = hub.watch()
        hub.say("figures", {"rate": float("nan")})
        assert await heard(stream) == [("figures", {"rate": None})]

    run(test)
