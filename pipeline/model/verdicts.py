"""From the bytes of a request to what the model makes of them, wherever that happens."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.events.codec import Codec
from pipeline.events.errors import RecordError
from pipeline.events.records import Modality
from pipeline.model import media
from pipeline.model.contract import Answers, Classified, Failed, Probabilities, Request, TooFewInputs
from pipeline.model.errors import InferenceFailed
from pipeline.model.samples import Sample
from pipeline.model.specs import InputSpecs

Decode = Callable[[Modality, bytes], npt.NDArray[Any]]


def media_decoder(codec: Codec, specs: InputSpecs) -> Decode:
    """Returns what makes the model's input of a message value; it raises RecordError for one that cannot be used."""
    return lambda modality, value: media.decode(codec.decode_event(modality, value), specs)


class Input(Protocol):
    """A message value and what it is."""

    @property
    def modality(self) -> Modality: ...  # noqa: D102

    @property
    def value(self) -> bytes: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Unusable:
    """Too few inputs of a request can be used."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the model looks at, and the inputs that could not be used, with the reasons."""

    sample: Sample | Unusable
    refused: Mapping[Modality, RecordError]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the model makes of one request: float32 [classes], or why there is none; and the inputs it refused."""

    result: Probabilities | InferenceFailed | Unusable
    refused: Mapping[Modality, RecordError]


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdicts on a batch or a part of one.

    Attributes:
        verdicts: one for each request, in order.
        samples: requests that the model was asked about.
        complete: those of them with all inputs.
        began_s: when the model began, on the machine's monotonic clock.
        took_s: how long it took.
    """

    verdicts: Sequence[Verdict]
    samples: int
    complete: int
    began_s: float
    took_s: float


class SampleDecoder:
    """Makes samples of message values.

    Args:
        decode: makes what the model looks at of one value, such as `media_decoder`.
        min_modalities: usable inputs that an answer needs; a moment that came with fewer needs all of its own.
    """

    def __init__(self, decode: Decode, min_modalities: int) -> None:
        self._decode = decode
        self._min_modalities = min_modalities

    def decode(self, requests: Sequence[Sequence[Input]]) -> list[Decoded]:
        """Returns the sample of each request.

        One modality after the other: the code that decodes it stays in the processor's caches, which saves a fifth of
        the time.
        """
        usable: list[dict[Modality, npt.NDArray[Any]]] = [{} for _ in requests]
        refused: list[dict[Modality, RecordError]] = [{} for _ in requests]
        inputs = [(place, one) for place, request in enumerate(requests) for one in request]
        for place, one in sorted(inputs, key=lambda placed: placed[1].modality):
            try:
                usable[place][one.modality] = self._decode(one.modality, one.value)
            except RecordError as error:
                refused[place][one.modality] = error
        return [self._decoded(*each) for each in zip(requests, usable, refused, strict=True)]

    def _decoded(
        self,
        inputs: Sequence[Input],
        usable: Mapping[Modality, npt.NDArray[Any]],
        refused: Mapping[Modality, RecordError],
    ) -> Decoded:
        if len(usable) < min(self._min_modalities, len(inputs)):
            return Decoded(Unusable(), refused)
        return Decoded(Sample(*(usable.get(modality) for modality in Modality)), refused)


def samples_of(decoded: Sequence[Decoded]) -> list[Sample]:
    """Returns the samples that the model is asked about."""
    return [one.sample for one in decoded if isinstance(one.sample, Sample)]


def isolate(
    predict: Callable[[Sequence[Sample]], Probabilities],
    samples: Sequence[Sample],
    asked: Callable[[], Probabilities] | None = None,
) -> list[Probabilities | InferenceFailed]:
    """Answers what can be answered: halves a failing batch until the culprit is alone.

    Args:
        predict: Answers samples.
        samples: The batch.
        asked: Returns the answer to the whole batch, or raises, if that was asked for already.

    Returns:
        For each sample its probabilities, float32 [classes], or why the model cannot answer it.
    """
    if not samples:
        return []
    try:
        return list(asked() if asked else predict(samples))
    except InferenceFailed as failure:
        if len(samples) == 1:
            return [failure]
    middle = len(samples) // 2
    return isolate(predict, samples[:middle]) + isolate(predict, samples[middle:])


def judged(decoded: Sequence[Decoded], results: Sequence[Probabilities | InferenceFailed], began_s: float) -> Judged:
    """Returns the verdicts on some requests, given the model's results for `samples_of` them, begun at `began_s`."""
    answered = iter(results)
    verdicts = [
        Verdict(one.sample if isinstance(one.sample, Unusable) else next(answered), one.refused) for one in decoded
    ]
    complete = sum(sample.is_complete for sample in samples_of(decoded))
    return Judged(verdicts, len(results), complete, began_s, time.monotonic() - began_s)


def answers(requests: Sequence[Request], verdicts: Sequence[Verdict]) -> Answers:
    """Returns what became of each request."""
    whole: list[Request] = []
    rows: list[Probabilities] = []
    others: list[Classified | TooFewInputs | Failed] = []
    for request, verdict in zip(requests, verdicts, strict=True):
        match verdict.result:
            case Unusable():
                others.append(TooFewInputs(request, verdict.refused))
            case InferenceFailed() as failure:
                others.append(Failed(request, str(failure), verdict.refused))
            case row if verdict.refused:
                others.append(Classified(request, row, verdict.refused))
            case row:
                whole.append(request)
                rows.append(row)
    return Answers(whole, np.array(rows, np.float32), others)
