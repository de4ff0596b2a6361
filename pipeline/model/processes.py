"""The model in processes of its own, for a CPU: message values go in, verdicts come out."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from threading import BrokenBarrierError
from typing import NamedTuple

from pipeline.events.records import Modality
from pipeline.model.contract import Predictor, Request
from pipeline.model.cores import part_size
from pipeline.model.errors import DeviceUnavailable
from pipeline.model.verdicts import Judged, SampleDecoder, isolate, judged, samples_of
from pipeline.telemetry.watchdog import Watchdog

_SMALLEST_PART = 8  # requests; fewer are not worth another process
_CLOSE_S = 2.0
_SIGNALS = {signal.SIGINT, signal.SIGTERM}


class Value(NamedTuple):
    """A message value and what it is: all that a process is told of a record."""

    modality: Modality
    value: bytes


class Worker:
    """Decodes and answers parts of batches, one after the other, in a process of its own.

    Args:
        predictor: answers.
        decoder: makes what the predictor looks at of message values.
        request_timeout_s: longest time for one part before the watchdog ends the process.
    """

    def __init__(self, predictor: Predictor, decoder: SampleDecoder, request_timeout_s: float) -> None:
        self._predictor, self._decoder = predictor, decoder
        self._watchdog = Watchdog(request_timeout_s)

    def judge(self, requests: Sequence[Sequence[Value]]) -> Judged:
        """Returns what the model makes of each request."""
        with self._watchdog.watching(f"{len(requests)} requests in the model"):
            decoded = self._decoder.decode(requests)
            began_s = time.monotonic()
            return judged(decoded, isolate(self._predictor.predict, samples_of(decoded)), began_s)


class InProcesses:
    """Splits batches among processes, each with a model of its own on one core; a `Model`.

    The interpreter's lock is why: the network's hundreds of short operations, the decoding of media and the consumer's
    own thread would wait for each other. The processes end with this one, however it ends, and leave signals to it.

    Args:
        start: makes a worker, warm, in its process; what it raises is raised here. It is pickled.
        count: processes.
        preload: modules that are imported once for all of them, which share their memory.

    Raises:
        DeviceUnavailable: a process ended while it started.
    """

    def __init__(self, start: Callable[[], Worker], count: int, preload: Sequence[str] = ()) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(preload))
        theirs, self._lifeline = context.Pipe(duplex=False)
        self._count = count
        self.pids: Sequence[int] = ()
        given = (start, context.Barrier(count), theirs)
        self._pool = ProcessPoolExecutor(count, context, initializer=_begin, initargs=given)
        with _held_back(_SIGNALS):  # until the processes ignore them
            starts = [self._pool.submit(_warm_up) for _ in range(count)]
        if errors := [error for one in starts if (error := one.exception())]:
            self.close()
            with translated():
                raise min(errors, key=lambda error: isinstance(error, BrokenBarrierError))
        self.pids = [one.result() for one in starts]

    def submit(self, requests: Sequence[Request]) -> Sequence[Future[Judged]]:
        """Starts on a batch; returns its parts, in order."""
        size = part_size(len(requests), self._count, _SMALLEST_PART)
        values = [[Value(record.modality, record.value) for record in request.records] for request in requests]
        return [self._pool.submit(_judge, values[start : start + size]) for start in range(0, len(values), size)]

    def close(self) -> None:
        """Ends the processes; waits at most two seconds for what is on its way."""
        # A pool of which a process has ended waits for the others, which do not listen to its SIGTERM.
        cut = threading.Timer(_CLOSE_S, self._kill)
        cut.start()
        self._pool.shutdown()
        cut.cancel()
        cut.join()
        self._lifeline.close()

    def _kill(self) -> None:
        self._lifeline.close()
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def translated() -> Iterator[None]:
    """Raises DeviceUnavailable for what the pool says when one of its processes has ended."""
    try:
        yield
    except BrokenExecutor as error:
        raise DeviceUnavailable(
            "A process of the model has ended, killed perhaps because memory ran out (the lines before this one and "
            "the kernel's log say more). Start again, with fewer of them (serving.workers) if that is why."
        ) from error


class _Process:
    """What one of the processes has."""

    start: Callable[[], Worker]
    ready: Barrier
    worker: Worker


def _begin(start: Callable[[], Worker], ready: Barrier, lifeline: Connection) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    threading.Thread(target=_end_with, args=(lifeline,), name="lifeline", daemon=True).start()
    _Process.start, _Process.ready = start, ready


def _end_with(lifeline: Connection) -> None:
    """Ends this process when the other end is closed, be it by the end of the process that has it."""
    lifeline.poll(None)
    os._exit(0)


def _warm_up() -> int:
    try:
        _Process.worker = _Process.start()
    except BaseException:
        _Process.ready.abort()
        raise
    _Process.ready.wait()  # so that each process starts one
    return os.getpid()


def _judge(requests: Sequence[Sequence[Value]]) -> Judged:
    return _Process.worker.judge(requests)


@contextmanager
def _held_back(numbers: set[signal.Signals]) -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
