"""The model beside the consumer: order, bounds, refused media, failures."""

import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import structlog

from pipeline.events.errors import Invalid, Undecodable
from pipeline.events.records import Modality
from pipeline.join.outcomes import Record
from pipeline.model.contract import Classified, Failed, Predictor, TooFewInputs
from pipeline.model.inference import Inference
from pipeline.model.samples import Sample
from pipeline.model.specs import InputSpecs
from pipeline.model.threads import InThreads
from pipeline.model.verdicts import Decode, SampleDecoder, media_decoder
from tests.support.events import CODEC, StubPredictor, encoded

Answer = Classified | Failed | TooFewInputs

SPEECH, IMAGE, SENSOR = Modality
WAIT_S = 30.0


class Asked(NamedTuple):
    """A request with a name."""

    name: str | int
    records: Sequence[Record]


def asked(name: str | int, *modalities: Modality, broken: Modality | None = None) -> Asked:
    inputs = [*modalities, *([broken] if broken is not None else [])]
    values = {modality: b"broken" if modality is broken else encoded(modality, 0) for modality in inputs}
    return Asked(
        name,
        [Record(m, 0, b"k", 0, value) for m, value in sorted(values.items())],
    )


def started(predictor: Predictor, in_flight: int = 2, decode: Decode | None = None, *, log: bool = False) -> Inference:
    decoder = SampleDecoder(decode or media_decoder(CODEC, InputSpecs()), 2)
    return Inference(InThreads(predictor, decoder, 2, WAIT_S), in_flight, WAIT_S, log=log)


def answers(inference: Inference, count: int) -> dict[str | int, Answer]:
    """Returns so many answers by the names of their requests, in the order in which they come."""
    got: dict[str | int, Answer] = {}
    while len(got) < count:
        assert len(inference) > 0
        for batch in inference.results(wait_s=WAIT_S):
            assert len(batch.whole) == len(batch.probabilities)
            got |= {
                request.name: Classified(request, row, {})
                for request, row in zip(batch.whole, batch.probabilities, strict=True)
            }
            got |= {answer.request.name: answer for answer in batch.others}
    return got


@pytest.fixture
def inference() -> Iterator[Inference]:
    one = started(StubPredictor())
    yield one
    one.close()


def test_answers_come_in_order_and_bring_their_request(inference: Inference) -> None:
    inference.submit([asked("a", *Modality), asked("b", SPEECH, SENSOR)])
    inference.submit([asked("c", IMAGE, SENSOR)])
    got = answers(inference, 3)
    assert list(got) == ["a", "b", "c"]
    assert all(isinstance(answer, Classified) and answer.probabilities.argmax() == 3 for answer in got.values())


def test_a_single_input_is_answered_when_it_is_all_there_was(inference: Inference) -> None:
    inference.submit([asked("a", IMAGE)])
    assert isinstance(answers(inference, 1)["a"], Classified)


def refuses_broken(_modality: Modality, value: bytes) -> npt.NDArray[np.int16]:
    if value == b"broken":
        raise Invalid("It is broken.")
    return np.zeros(1, np.int16)


def test_a_refused_input_leaves_the_others() -> None:
    inference = started(StubPredictor(), decode=refuses_broken)
    inference.submit([asked("a", SPEECH, SENSOR, broken=IMAGE), asked("b", SPEECH, broken=IMAGE)])
    got = answers(inference, 2)
    inference.close()
    assert isinstance(got["a"], Classified)
    assert isinstance(got["b"], TooFewInputs)
    assert [list(answer.refused) for answer in got.values()] == [[IMAGE], [IMAGE]]
    assert str(got["a"].refused[IMAGE]) == "It is broken."


def test_a_batch_is_decoded_one_modality_after_the_other_and_each_input_goes_to_its_request() -> None:
    order: list[tuple[Modality, bytes]] = []

    def decode(modality: Modality, value: bytes) -> npt.NDArray[np.int16]:
        order.append((modality, value))
        return np.frombuffer(value, np.int16)

    requests = [[Record(m, 0, b"k", 0, bytes([m, number])) for m in Modality] for number in range(3)]
    decoded = SampleDecoder(decode, 2).decode([requests[0], requests[1][1:], requests[2]])
    assert order == [(m, bytes([m, n])) for m in Modality for n in range(3) if (m, n) != (SPEECH, 1)]
    for number, one in enumerate(decoded):
        assert isinstance(one.sample, Sample)
        found = [None if v is None else v.tobytes() for v in (one.sample.speech, one.sample.image, one.sample.sensor)]
        assert found == [None if (m, number) == (SPEECH, 1) else bytes([m, number]) for m in Modality]


def test_bytes_that_do_not_decode_are_refused(inference: Inference) -> None:
    inference.submit([asked("a", SPEECH, SENSOR, broken=IMAGE)])
    assert isinstance(answers(inference, 1)["a"].refused[IMAGE], Undecodable)


def test_only_the_culprit_of_a_failing_batch_fails() -> None:
    def without_picture(samples: Sequence[Sample]) -> bool:
        return any(sample.image is None for sample in samples)

    inference = started(StubPredictor(without_picture))
    requests = [asked(number, *Modality) for number in range(7)]
    inference.submit([*requests, asked("culprit", SPEECH, SENSOR)])
    got = answers(inference, 8)
    inference.close()
    failed = [name for name, answer in got.items() if isinstance(answer, Failed)]
    assert failed == ["culprit"]
    assert isinstance(got["culprit"], Failed)
    assert got["culprit"].problem == "The model was told to fail."


def test_only_so_many_batches_are_in_flight() -> None:
    go = threading.Event()

    def wait(_: Sequence[Sample]) -> bool:
        return not go.wait(WAIT_S)

    inference = started(StubPredictor(wait), in_flight=2)
    rooms = []
    for name in "ab":
        rooms.append(inference.has_room)
        inference.submit([asked(name, *Modality)])
    rooms.append(inference.has_room)
    assert inference.results() == []
    go.set()
    answers(inference, 2)
    assert [*rooms, inference.has_room] == [True, True, False, True]
    inference.close()


def test_what_is_discarded_does_not_come_out(inference: Inference) -> None:
    inference.submit([asked("old", *Modality)])
    inference.discard()
    inference.submit([asked("new", *Modality)])
    assert list(answers(inference, 1)) == ["new"]


def test_requests_are_logged_without_their_contents() -> None:
    def without_picture(samples: Sequence[Sample]) -> bool:
        return any(sample.image is None for sample in samples)

    inference = started(StubPredictor(without_picture), log=True)
    with structlog.testing.capture_logs() as lines:
        inference.submit([asked("a", *Modality)])
        inference.submit([asked("b", SPEECH, SENSOR)])
        answers(inference, 2)
    inference.close()
    assert [(line["event"], line["samples"], line["complete"]) for line in lines] == [
        ("batch answered", 1, 1),
        ("batch failed", 1, 0),
    ]
    known = {"event", "samples", "complete", "ms", "failed", "problem", "log_level", "module"}
    assert all(set(line) <= known for line in lines)
