"""The model beside the consumer: order, bounds, refused media, failures."""

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest
import structlog

from pipeline.events.errors import Invalid
from pipeline.events.records import Event, Modality
from pipeline.model.inference import Answer, Classified, Failed, Inference, Request, TooFewInputs
from pipeline.model.samples import Sample
from pipeline.model.specs import InputSpecs
from pipeline.model.watched import WatchedPredictor
from tests.support.events import StubPredictor, event

SPEECH, IMAGE, SENSOR = Modality
WAIT_S = 30.0


def events(*modalities: Modality, broken: bool = False) -> dict[Modality, Event]:
    return {modality: event(modality, -1 if broken else 0) for modality in modalities}


def started(predictor: StubPredictor, in_flight: int = 2) -> Inference:
    return Inference(predictor, InputSpecs(), 2, in_flight, 2, WAIT_S)


def answers(inference: Inference, count: int) -> list[Answer]:
    got: list[Answer] = []
    while len(got) < count:
        assert len(inference) > 0
        got += inference.results(wait_s=WAIT_S)
    return got


@pytest.fixture
def inference() -> Iterator[Inference]:
    one = started(StubPredictor())
    yield one
    one.close()


def test_answers_come_in_order_and_bring_their_token(inference: Inference) -> None:
    inference.submit([Request("a", events(*Modality)), Request("b", events(SPEECH, SENSOR))])
    inference.submit([Request("c", events(IMAGE, SENSOR))])
    got = answers(inference, 3)
    assert [answer.token for answer in got] == ["a", "b", "c"]
    assert all(isinstance(answer, Classified) and answer.probabilities.argmax() == 3 for answer in got)


def test_a_single_input_is_answered_when_it_is_all_there_was(inference: Inference) -> None:
    inference.submit([Request("a", events(IMAGE))])
    assert isinstance(answers(inference, 1)[0], Classified)


def refuses_broken(one: Event, _specs: InputSpecs) -> npt.NDArray[np.int16]:
    if one.event_time_ms < 0:
        raise Invalid("It is broken.")
    return np.zeros(1, np.int16)


def test_a_refused_input_leaves_the_others() -> None:
    inference = Inference(StubPredictor(), InputSpecs(), 2, 2, 1, WAIT_S, decode=refuses_broken)
    inference.submit(
        [
            Request("a", {**events(SPEECH, SENSOR), **events(IMAGE, broken=True)}),
            Request("b", {**events(SPEECH), **events(IMAGE, broken=True)}),
        ]
    )
    got = {answer.token: answer for answer in answers(inference, 2)}
    inference.close()
    assert isinstance(got["a"], Classified)
    assert isinstance(got["b"], TooFewInputs)
    assert [list(answer.refused) for answer in got.values()] == [[IMAGE], [IMAGE]]
    assert str(got["a"].refused[IMAGE]) == "It is broken."


def test_only_the_culprit_of_a_failing_batch_fails() -> None:
    def without_picture(samples: Sequence[Sample]) -> bool:
        return any(sample.image is None for sample in samples)

    inference = started(StubPredictor(without_picture))
    requests = [Request(number, events(*Modality)) for number in range(7)]
    inference.submit([*requests, Request("culprit", events(SPEECH, SENSOR))])
    got = {answer.token: answer for answer in answers(inference, 8)}
    inference.close()
    failed = [token for token, answer in got.items() if isinstance(answer, Failed)]
    assert failed == ["culprit"]
    assert isinstance(got["culprit"], Failed)
    assert got["culprit"].problem == "The model was told to fail."


def test_only_so_many_batches_are_in_flight() -> None:
    go = threading.Event()

    def wait(_: Sequence[Sample]) -> bool:
        return not go.wait(WAIT_S)

    inference = started(StubPredictor(wait), in_flight=2)
    rooms = []
    for token in "ab":
        rooms.append(inference.has_room)
        inference.submit([Request(token, events(*Modality))])
    rooms.append(inference.has_room)
    assert inference.results() == []
    go.set()
    answers(inference, 2)
    assert [*rooms, inference.has_room] == [True, True, False, True]
    inference.close()


def test_what_is_discarded_does_not_come_out(inference: Inference) -> None:
    inference.submit([Request("old", events(*Modality))])
    inference.discard()
    inference.submit([Request("new", events(*Modality))])
    assert [answer.token for answer in answers(inference, 1)] == ["new"]


def test_requests_are_logged_without_their_contents() -> None:
    def without_picture(samples: Sequence[Sample]) -> bool:
        return any(sample.image is None for sample in samples)

    inference = Inference(WatchedPredictor(StubPredictor(without_picture), log=True), InputSpecs(), 2, 2, 2, WAIT_S)
    with structlog.testing.capture_logs() as lines:
        inference.submit([Request("a", events(*Modality))])
        inference.submit([Request("b", events(SPEECH, SENSOR))])
        answers(inference, 2)
    inference.close()
    assert [(line["event"], line["samples"], line["complete"]) for line in lines] == [
        ("batch answered", 1, 1),
        ("batch failed", 1, 0),
    ]
    assert all(set(line) <= {"event", "samples", "complete", "ms", "problem", "log_level", "module"} for line in lines)
