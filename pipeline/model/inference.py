"""The model beside the consumer: a few batches on their way, their answers in order."""

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Protocol

from pipeline.model.contract import Answers, Request
from pipeline.model.errors import DeviceUnavailable, InferenceFailed
from pipeline.model.processes import translated
from pipeline.model.verdicts import Judged, answers
from pipeline.telemetry import metrics
from pipeline.telemetry.logs import logger

_log = logger(__name__)


class Model(Protocol):
    """What answers batches: `InThreads` or `InProcesses`."""

    def submit(self, requests: Sequence[Request]) -> Sequence[Future[Judged]]:
        """Starts on a batch; returns its parts, in order."""

    def close(self) -> None:
        """Waits for what is on its way and ends threads and processes."""


@dataclass(frozen=True, slots=True)
class _Batch:
    requests: Sequence[Request]
    parts: Sequence[Future[Judged]]
    since_s: float

    @property
    def is_done(self) -> bool:
        return all(part.done() for part in self.parts)


class Inference:
    """Answers batches of requests, at most `in_flight` at a time; a `Classifier`.

    Args:
        model: what answers.
        in_flight: batches between `submit` and `results`.
        timeout_s: how long a batch may take, with those before it. Longer than the model's own watchdog waits, which
            says more; but what stands still watches nothing.
        log: whether to write a line for each part of a batch.
    """

    def __init__(self, model: Model, in_flight: int, timeout_s: float, *, log: bool = False) -> None:
        self._model, self._in_flight, self._timeout_s, self._log = model, in_flight, timeout_s, log
        self._batches: deque[_Batch] = deque()

    def __len__(self) -> int:
        """The number of batches in flight."""
        return len(self._batches)

    @property
    def has_room(self) -> bool:
        """Whether another batch may be submitted."""
        return len(self._batches) < self._in_flight

    def submit(self, requests: Sequence[Request]) -> None:
        """Hands a batch over; its answers come out of `results`, in order. Raises as that does."""
        with translated():
            self._batches.append(_Batch(requests, self._model.submit(requests), time.monotonic()))

    def results(self, wait_s: float = 0.0) -> list[Answers]:
        """Returns the batches that are answered; waits at most `wait_s` for the oldest one.

        Raises:
            DeviceUnavailable: the model is lost to this process.
        """
        if wait_s and self._batches:
            wait(self._batches[0].parts, wait_s)
        answered: list[Answers] = []
        while self._batches and self._batches[0].is_done:
            answered.append(self._concluded(self._batches.popleft()))
        if self._batches and time.monotonic() - self._batches[0].since_s > self._timeout_s:
            raise DeviceUnavailable(f"The model has not answered a batch for {self._timeout_s:.0f} s: start again.")
        return answered

    def discard(self) -> None:
        """Forgets what is in flight: its answers will not come out."""
        self._batches.clear()

    def close(self) -> None:
        """Waits for what is in flight and ends threads and processes."""
        self._model.close()

    def _concluded(self, batch: _Batch) -> Answers:
        with translated():
            parts = [part.result() for part in batch.parts]
        for part in parts:
            metrics.QUEUE_WAIT.labels("model").observe(part.began_s - batch.since_s)
            metrics.MODEL_SECONDS.observe(part.took_s)
            if self._log:
                _write_line(part)
        return answers(batch.requests, [verdict for part in parts for verdict in part.verdicts])


def _write_line(part: Judged) -> None:
    failures = [verdict.result for verdict in part.verdicts if isinstance(verdict.result, InferenceFailed)]
    figures = {"samples": part.samples, "complete": part.complete, "ms": round(part.took_s * 1_000, 2)}
    if failures:
        _log.warning("batch failed", **figures, failed=len(failures), problem=str(failures[0]))
    else:
        _log.info("batch answered", **figures)
