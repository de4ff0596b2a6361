"""What the consumer asks of a model and what it gets back, wherever that runs; and what a model has to offer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.events.errors import RecordError
from pipeline.events.records import Modality
from pipeline.join.outcomes import Record
from pipeline.model.samples import Sample

Probabilities = npt.NDArray[np.float32]


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


class Classifier(Protocol):
    """What the consumer asks: `Inference` on a GPU, `WorkerInference` on a CPU, or a benchmark's stub."""

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
        """Waits for what is in flight and ends threads and processes."""


class Pending(Protocol):
    """A batch that a model works on."""

    def result(self) -> Probabilities:
        """Waits for the answer; raises InferenceFailed."""


class Predictor(Protocol):
    """What answers a batch: `pipeline.model.runtime.Runtime`, or a stand-in. One thread uses it."""

    def predict(self, samples: Sequence[Sample]) -> Probabilities:
        """Returns calibrated probabilities, float32 [len(samples), classes]; raises InferenceFailed."""

    def submit(self, samples: Sequence[Sample]) -> Pending:
        """Starts on a batch; what goes wrong is raised by its `result`."""
