"""The model beside the consumer: media are decoded in a pool, batches answered in one thread, in order."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.events.errors import RecordError
from pipeline.events.records import Event, Modality
from pipeline.model import media
from pipeline.model.errors import InferenceFailed
from pipeline.model.runtime import isolate
from pipeline.model.samples import Sample
from pipeline.model.specs import InputSpecs
from pipeline.telemetry.watchdog import Watchdog

Probabilities = npt.NDArray[np.float32]
Decode = Callable[[Event, InputSpecs], npt.NDArray[Any]]
_DECODE_CHUNK = 8


class Predictor(Protocol):
    """What answers a batch: `pipeline.model.runtime.Runtime`, or a benchmark's stub."""

    def predict(self, samples: Sequence[Sample]) -> Probabilities:
        """Returns calibrated probabilities, float32 [len(samples), classes]; raises InferenceFailed."""


@dataclass(frozen=True, slots=True)
class Request:
    """The inputs of one moment. `token` comes back with the answer."""

    token: Any
    events: Mapping[Modality, Event]


@dataclass(frozen=True, slots=True)
class Classified:
    """The model's answer, float32 [classes], from all events but the refused ones."""

    token: Any
    probabilities: Probabilities
    refused: Mapping[Modality, RecordError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TooFewInputs:
    """So many events were refused that the rest is not enough for an answer."""

    token: Any
    refused: Mapping[Modality, RecordError]


@dataclass(frozen=True, slots=True)
class Failed:
    """The model could not answer for these inputs."""

    token: Any
    problem: str
    refused: Mapping[Modality, RecordError] = field(default_factory=dict)


Answer = Classified | TooFewInputs | Failed


@dataclass(frozen=True, slots=True)
class _Decoded:
    request: Request
    media: Mapping[Modality, npt.NDArray[Any]]
    refused: Mapping[Modality, RecordError]


class Inference:
    """Answers batches of requests, at most `in_flight` at a time.

    Args:
        predictor: called from one thread only.
        specs: what the media are decoded to.
        min_modalities: usable inputs that an answer needs; a moment that came with fewer needs all of its own.
        in_flight: batches between `submit` and `results`.
        decode_threads: threads that decode media.
        request_timeout_s: longest time for one batch before the watchdog ends the process.
        decode: makes what the predictor looks at of an event.
    """

    def __init__(
        self,
        predictor: Predictor,
        specs: InputSpecs,
        min_modalities: int,
        in_flight: int,
        decode_threads: int,
        request_timeout_s: float,
        decode: Decode = media.decode,
    ) -> None:
        self._predictor = predictor
        self._specs = specs
        self._decode_media = decode
        self._min_modalities = min_modalities
        self._in_flight = in_flight
        self._decoders = ThreadPoolExecutor(decode_threads, thread_name_prefix="decode")
        self._model = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._watchdog = Watchdog(request_timeout_s)
        self._batches: deque[Future[list[Answer]]] = deque()

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
        self._batches.append(self._model.submit(self._answer, chunks))

    def results(self, wait_s: float = 0.0) -> list[Answer]:
        """Returns the answers that are ready; waits at most `wait_s` for the oldest batch."""
        answers: list[Answer] = []
        if wait_s and self._batches:
            wait((self._batches[0],), wait_s)
        while self._batches and self._batches[0].done():
            answers += self._batches.popleft().result()
        return answers

    def discard(self) -> None:
        """Forgets what is in flight: its answers will not come out."""
        self._batches.clear()

    def close(self) -> None:
        """Waits for what is in flight and ends the threads."""
        self._decoders.shutdown()
        self._model.shutdown()
        self._watchdog.close()

    def _decode(self, requests: Sequence[Request]) -> list[_Decoded]:
        return [self._decode_one(request) for request in requests]

    def _decode_one(self, request: Request) -> _Decoded:
        decoded: dict[Modality, npt.NDArray[Any]] = {}
        refused: dict[Modality, RecordError] = {}
        for modality, event in request.events.items():
            try:
                decoded[modality] = self._decode_media(event, self._specs)
            except RecordError as error:
                refused[modality] = error
        return _Decoded(request, decoded, refused)

    def _answer(self, chunks: Sequence[Future[list[_Decoded]]]) -> list[Answer]:
        decoded = [one for chunk in chunks for one in chunk.result()]
        usable = [one for one in decoded if self._is_enough(one)]
        samples = [
            Sample(one.media.get(Modality.SPEECH), one.media.get(Modality.IMAGE), one.media.get(Modality.SENSOR))
            for one in usable
        ]
        answers: list[Answer] = [
            TooFewInputs(one.request.token, one.refused) for one in decoded if not self._is_enough(one)
        ]
        if not samples:
            return answers
        with self._watchdog.watching(f"a batch of {len(samples)} in the model"):
            results = isolate(self._predictor.predict, samples)
        for one, result in zip(usable, results, strict=True):
            if isinstance(result, InferenceFailed):
                answers.append(Failed(one.request.token, str(result), one.refused))
            else:
                answers.append(Classified(one.request.token, result, one.refused))
        return answers

    def _is_enough(self, one: _Decoded) -> bool:
        return len(one.media) >= min(self._min_modalities, len(one.request.events))
