"""The model beside the consumer: media are decoded in a pool, batches answered in one thread, in order."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.events.codec import Codec
from pipeline.events.errors import RecordError
from pipeline.events.records import Modality
from pipeline.join.outcomes import Record
from pipeline.model import media
from pipeline.model.ahead import Ahead
from pipeline.model.errors import InferenceFailed
from pipeline.model.runtime import isolate
from pipeline.model.samples import Sample
from pipeline.model.specs import InputSpecs
from pipeline.telemetry import metrics
from pipeline.telemetry.watchdog import Watchdog

Probabilities = npt.NDArray[np.float32]
Decode = Callable[[Modality, bytes], npt.NDArray[Any]]
_DECODE_CHUNK = 8
AHEAD = 2
"""Batches that the model has at a time."""


class Pending(Protocol):
    """A batch that the model works on."""

    def result(self) -> Probabilities:
        """Waits for the answer; raises InferenceFailed."""


class Predictor(Protocol):
    """What answers a batch: `pipeline.model.runtime.Runtime`, or a stand-in. One thread uses it."""

    def predict(self, samples: Sequence[Sample]) -> Probabilities:
        """Returns calibrated probabilities, float32 [len(samples), classes]; raises InferenceFailed."""

    def submit(self, samples: Sequence[Sample]) -> Pending:
        """Starts on a batch; what goes wrong is raised by its `result`."""


class Request(Protocol):
    """A moment that the model is asked about: one record of each input that is there."""

    @property
    def records(self) -> Sequence[Record]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Classified:
    """The model's answer, float32 [classes], from all inputs but the refused ones."""

    request: Any
    probabilities: Probabilities
    refused: Mapping[Modality, RecordError]


@dataclass(frozen=True, slots=True)
class TooFewInputs:
    """So many inputs were refused that the rest is not enough for an answer."""

    request: Any
    refused: Mapping[Modality, RecordError]


@dataclass(frozen=True, slots=True)
class Failed:
    """The model could not answer for these inputs."""

    request: Any
    problem: str
    refused: Mapping[Modality, RecordError]


@dataclass(frozen=True, slots=True)
class Answers:
    """What became of the requests of a batch.

    Attributes:
        whole: those that were answered from all their inputs.
        probabilities: float32 [len(whole), classes].
        others: what else became of a request.
    """

    whole: Sequence[Any]
    probabilities: Probabilities
    others: Sequence[Classified | TooFewInputs | Failed] = ()


@dataclass(frozen=True, slots=True)
class _Decoded:
    request: Request
    sample: Mapping[Modality, npt.NDArray[Any]]
    refused: Mapping[Modality, RecordError]


@dataclass(frozen=True, slots=True)
class _Handed:
    chunks: Sequence[Future[list[_Decoded]]]
    at_s: float


@dataclass(frozen=True, slots=True)
class _Asked:
    usable: Sequence[_Decoded]
    samples: Sequence[Sample]
    pending: Pending
    others: Sequence[TooFewInputs]


def media_decoder(codec: Codec, specs: InputSpecs) -> Decode:
    """Returns what makes the model's input of a message value; it raises RecordError for one that cannot be used."""
    return lambda modality, value: media.decode(codec.decode_event(modality, value), specs)


class Classifier(Protocol):
    """What the consumer asks: `Inference`, or a benchmark's stub."""

    def __len__(self) -> int:
        """The number of batches in flight."""

    @property
    def has_room(self) -> bool:
        """Whether another batch may be submitted."""

    def submit(self, requests: Sequence[Request]) -> None:
        """Hands a batch over; its answers come out of `results`, in order."""

    def results(self, wait_s: float = 0.0) -> list[Answers]:
        """Returns the batches that are answered; waits at most `wait_s` for the oldest one."""

    def discard(self) -> None:
        """Forgets what is in flight: its answers will not come out."""

    def close(self) -> None:
        """Waits for what is in flight and ends the threads."""


class Inference:
    """Answers batches of requests, at most `in_flight` at a time; a `Classifier`.

    The model gets the next batch before it has answered the last, if that is decoded by then: a GPU copies one while
    it computes another.

    Args:
        predictor: called from one thread only.
        decode: makes what the predictor looks at of a message value, such as `media_decoder`.
        min_modalities: usable inputs that an answer needs; a moment that came with fewer needs all of its own.
        in_flight: batches between `submit` and `results`.
        decode_threads: threads that decode media.
        request_timeout_s: longest time for one batch before the watchdog ends the process.
    """

    def __init__(
        self,
        predictor: Predictor,
        decode: Decode,
        min_modalities: int,
        in_flight: int,
        decode_threads: int,
        request_timeout_s: float,
    ) -> None:
        self._predictor = predictor
        self._decode_media = decode
        self._min_modalities = min_modalities
        self._in_flight = in_flight
        self._decoders = ThreadPoolExecutor(decode_threads, thread_name_prefix="decode")
        self._model = Ahead(self._ask, self._conclude, AHEAD)
        self._watchdog = Watchdog(request_timeout_s)
        self._batches: deque[Future[Answers]] = deque()

    def __len__(self) -> int:
        """The number of batches in flight."""
        return len(self._batches)

    @property
    def has_room(self) -> bool:
        """Whether another batch may be submitted."""
        return len(self._batches) < self._in_flight

    def submit(self, requests: Sequence[Request]) -> None:
        """Hands a batch over; its answers come out of `results`, in order."""
        chunks = [
            self._decoders.submit(self._decode, requests[start : start + _DECODE_CHUNK])
            for start in range(0, len(requests), _DECODE_CHUNK)
        ]
        handed = _Handed(chunks, time.monotonic())
        self._batches.append(self._model.submit(handed, lambda: all(chunk.done() for chunk in chunks)))

    def results(self, wait_s: float = 0.0) -> list[Answers]:
        """Returns the batches that are answered; waits at most `wait_s` for the oldest one."""
        answered: list[Answers] = []
        if wait_s and self._batches:
            wait((self._batches[0],), wait_s)
        while self._batches and self._batches[0].done():
            answered.append(self._batches.popleft().result())
        return answered

    def discard(self) -> None:
        """Forgets what is in flight: its answers will not come out."""
        self._batches.clear()

    def close(self) -> None:
        """Waits for what is in flight and ends the threads."""
        self._decoders.shutdown()
        self._model.close()
        self._watchdog.close()

    def _decode(self, requests: Sequence[Request]) -> list[_Decoded]:
        return [self._decode_one(request) for request in requests]

    def _decode_one(self, request: Request) -> _Decoded:
        decoded: dict[Modality, npt.NDArray[Any]] = {}
        refused: dict[Modality, RecordError] = {}
        for record in request.records:
            try:
                decoded[record.modality] = self._decode_media(record.modality, record.value)
            except RecordError as error:
                refused[record.modality] = error
        return _Decoded(request, decoded, refused)

    def _ask(self, handed: _Handed) -> _Asked:
        decoded = [one for chunk in handed.chunks for one in chunk.result()]
        metrics.QUEUE_WAIT.labels("model").observe(time.monotonic() - handed.at_s)
        usable = [one for one in decoded if self._is_enough(one)]
        samples = [Sample(*(one.sample.get(modality) for modality in Modality)) for one in usable]
        others = [TooFewInputs(one.request, one.refused) for one in decoded if not self._is_enough(one)]
        return _Asked(usable, samples, self._predictor.submit(samples), others)

    def _conclude(self, asked: _Asked) -> Answers:
        with self._watchdog.watching(f"a batch of {len(asked.samples)} in the model"):
            results = isolate(self._predictor.predict, asked.samples, asked.pending.result)
        others: list[Classified | TooFewInputs | Failed] = [*asked.others]
        whole: list[Request] = []
        rows: list[Probabilities] = []
        for one, result in zip(asked.usable, results, strict=True):
            if isinstance(result, InferenceFailed):
                others.append(Failed(one.request, str(result), one.refused))
            elif one.refused:
                others.append(Classified(one.request, result, one.refused))
            else:
                whole.append(one.request)
                rows.append(result)
        return Answers(whole, np.array(rows, np.float32), others)

    def _is_enough(self, one: _Decoded) -> bool:
        return len(one.sample) >= min(self._min_modalities, len(one.request.records))
