"""One thread that keeps a model busy: the next batch is on its way before the last has come back."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Work = TypeVar("Work")
Begun = TypeVar("Begun")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Task(Generic[Work, Result]):
    work: Work
    is_ready: Callable[[], bool]
    result: Future[Result] = field(default_factory=Future)


class Ahead(Generic[Work, Begun, Result]):
    """Begins pieces of work in order and ends them in order, in a thread of its own, up to `depth` of them begun.

    A piece is ended as soon as nothing can be begun: the depth is reached, or the next piece is not there or not ready.

    Args:
        begin: starts a piece without waiting for it.
        end: waits for what was begun and returns the result.
        depth: most pieces begun and not ended; 1 overlaps nothing.
    """

    def __init__(self, begin: Callable[[Work], Begun], end: Callable[[Begun], Result], depth: int) -> None:
        self._begin, self._end, self._depth = begin, end, depth
        self._tasks: SimpleQueue[_Task[Work, Result] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    def submit(self, work: Work, is_ready: Callable[[], bool]) -> Future[Result]:
        """Hands a piece over; `is_ready` says whether it can be begun without waiting."""
        task: _Task[Work, Result] = _Task(work, is_ready)
        self._tasks.put(task)
        return task.result

    def close(self) -> None:
        """Waits until all is ended."""
        self._tasks.put(None)
        self._thread.join()

    def _run(self) -> None:
        begun: deque[tuple[Begun, Future[Result]]] = deque()
        task: _Task[Work, Result] | None = None
        is_closing = False
        while begun or task or not is_closing:
            if task is None and not is_closing:
                with suppress(Empty):
                    task = self._tasks.get(block=not begun)
                    is_closing = task is None
            if begun and (task is None or len(begun) == self._depth or not task.is_ready()):
                what, result = begun.popleft()
                with _told(result):
                    result.set_result(self._end(what))
            elif task is not None:
                with _told(task.result):
                    begun.append((self._begin(task.work), task.result))
                task = None


@contextmanager
def _told(result: Future[Result]) -> Iterator[None]:
    """Hands whatever is raised to those who wait for the result."""
    try:
        yield
    except BaseException as error:
        result.set_exception(error)
