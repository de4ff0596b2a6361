"""Hands what the reading threads say to every browser that watches. Nobody waits for a slow one.

A *state* (figures, lanes, the connection) replaces the one before it, so a slow browser skips some. A *sample* (a
prediction, a dead letter) is queued, and of a full queue the oldest is dropped: the board is a view, not a ledger.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

SAMPLES_WAITING = 16
SAMPLES_KEPT = {"prediction": 12, "letter": 6}


class TooManyViewers(Exception):
    """No more browsers may watch at this time."""


@dataclass(eq=False, slots=True)
class _Viewer:
    states: dict[str, bytes]
    samples: deque[bytes]
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Hub:
    """Belongs to an event loop; only `say`, `show` and `close` may be called from other threads.

    Args:
        max_viewers: most browsers at a time.
    """

    def __init__(self, max_viewers: int) -> None:
        self._max_viewers = max_viewers
        self._loop: asyncio.AbstractEventLoop | None = None
        self._viewers: set[_Viewer] = set()
        self._states: dict[str, bytes] = {}
        self._samples = {kind: deque[bytes](maxlen=kept) for kind, kept in SAMPLES_KEPT.items()}
        self._closed = False

    @property
    def viewers(self) -> int:
        """Browsers that watch now."""
        return len(self._viewers)

    def open(self) -> None:
        """Takes the running event loop as its own."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Ends every stream, and lets no new one last."""
        self._call(self._end)

    def say(self, kind: str, state: Any) -> None:
        """Tells a state: a dataclass that becomes a JSON object."""
        self._call(self._set_state, kind, _event(kind, state))

    def show(self, kind: str, sample: Any) -> None:
        """Shows a sample, of a kind in `SAMPLES_KEPT`."""
        self._call(self._add_sample, kind, _event(kind, sample))

    def glance(self) -> bytes:
        """Returns what is known as server-sent events, for one look."""
        return b"".join((*self._states.values(), *self._kept()))

    def watch(self) -> AsyncIterator[bytes]:
        """Returns a stream of server-sent events for one browser: what is known, then what comes, until `close`.

        Raises:
            TooManyViewers: there are as many as may be.
        """
        if len(self._viewers) >= self._max_viewers:
            raise TooManyViewers(
                f"{self._max_viewers} browsers are watching, which is board.max_viewers: close one, or raise it."
            )
        kept = self._kept()
        viewer = _Viewer(dict(self._states), deque(kept, maxlen=SAMPLES_WAITING + len(kept)))
        viewer.news.set()
        self._viewers.add(viewer)
        return self._stream(viewer)

    def _kept(self) -> list[bytes]:
        return [sample for samples in self._samples.values() for sample in samples]

    async def _stream(self, viewer: _Viewer) -> AsyncIterator[bytes]:
        try:
            while not self._closed:
                await viewer.news.wait()
                viewer.news.clear()
                if waiting := b"".join(_taken(viewer)):
                    yield waiting
        finally:
            self._viewers.discard(viewer)

    def _call(self, what: Any, *arguments: Any) -> None:
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop is closed: nobody watches any more
            self._loop.call_soon_threadsafe(what, *arguments)

    def _end(self) -> None:
        self._closed = True
        for viewer in self._viewers:
            viewer.news.set()

    def _set_state(self, kind: str, event: bytes) -> None:
        self._states[kind] = event
        for viewer in self._viewers:
            viewer.states[kind] = event
            viewer.news.set()

    def _add_sample(self, kind: str, event: bytes) -> None:
        self._samples[kind].append(event)
        for viewer in self._viewers:
            viewer.samples.append(event)
            viewer.news.set()


def _taken(viewer: _Viewer) -> Iterable[bytes]:
    taken = [*viewer.states.values(), *viewer.samples]
    viewer.states.clear()
    viewer.samples.clear()
    return taken


def _event(kind: str, content: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), to_json(content, inf_nan_mode="null"))
