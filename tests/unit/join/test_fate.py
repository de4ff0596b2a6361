"""What became of each source record of a key."""

import pytest

from pipeline.events.records import DeadLetter, Modality, Prediction, Reason, SourceOffset
from pipeline.join.fate import DeadLettered, Fate, Known, Predicted, Unproven, Unread, Waiting, fates
from pipeline.join.tracker import Position
from tests.support.predictions import a_prediction

WINDOW_MS = 1_000
LETTER_AT = SourceOffset("dead-letters", 0, 5)
SPEECH, IMAGE, SENSOR = Modality


def at(modality: Modality, offset: int) -> SourceOffset:
    return SourceOffset(modality.name.lower(), 0, offset)


def known(modality: Modality, offset: int, event_time_ms: int | None = 0) -> Known:
    return Known(at(modality, offset), modality, event_time_ms)


def predicted(*sources: SourceOffset, number: int = 1, revision: int = 0) -> Prediction:
    return a_prediction(number, sources=sources, revision=revision)


def lettered(source: SourceOffset) -> tuple[SourceOffset, DeadLetter]:
    return LETTER_AT, DeadLetter(Reason.LATE, "", b"k", b"v", (source,), 0)


def up_to(high: int, *unfinished: int) -> Position:
    return Position(unfinished[0] if unfinished else high, high, unfinished, 0)


def of(
    *records: Known,
    predictions: tuple[Prediction, ...] = (),
    letters: tuple[tuple[SourceOffset, DeadLetter], ...] = (),
    **positions: Position,
) -> list[tuple[Fate, ...]]:
    committed = {(topic, 0): position for topic, position in positions.items()}
    return list(fates(records, predictions, letters, committed, WINDOW_MS).values())


def test_outputs_decide_whatever_is_committed() -> None:
    found = of(
        known(SPEECH, 3),
        known(IMAGE, 4),
        predictions=(predicted(at(SPEECH, 3)),),
        letters=(lettered(at(IMAGE, 4)),),
        speech=up_to(2),
    )
    assert found == [(Predicted("id-1", (0,)),), (DeadLettered(LETTER_AT, Reason.LATE),)]


def test_revisions_of_a_prediction_are_one_fate_and_two_outputs_are_two() -> None:
    source = at(SPEECH, 3)
    revisions = (predicted(source, revision=1), predicted(source))
    assert of(known(SPEECH, 3), predictions=revisions) == [(Predicted("id-1", (0, 1)),)]
    doubled = of(known(SPEECH, 3), predictions=(predicted(source),), letters=(lettered(source),))
    assert doubled == [(Predicted("id-1", (0,)), DeadLettered(LETTER_AT, Reason.LATE))]


@pytest.mark.parametrize(
    ("what", "position", "fate"),
    [
        ("nothing was ever committed", None, Unread()),
        ("the group has not come to it", up_to(3), Unread()),
        ("it is taken and not finished", up_to(9, 3), Waiting((IMAGE, SENSOR))),
        ("an older one is not finished, but it is", up_to(9, 2), Unproven()),
        ("it is below everything unfinished", up_to(9), Unproven()),
    ],
)
def test_without_an_output_the_committed_position_tells(what: str, position: Position | None, fate: Fate) -> None:
    found = of(known(SPEECH, 3)) if position is None else of(known(SPEECH, 3), speech=position)
    assert found == [(fate,)], what


@pytest.mark.parametrize(
    ("image_ms", "missing"),
    [(WINDOW_MS, (SENSOR,)), (-WINDOW_MS, (SENSOR,)), (WINDOW_MS + 1, (IMAGE, SENSOR)), (None, (IMAGE, SENSOR))],
)
def test_a_waiting_record_counts_on_those_of_its_window(image_ms: int | None, missing: tuple[Modality, ...]) -> None:
    found = of(known(SPEECH, 3), known(IMAGE, 3, image_ms), speech=up_to(4, 3), image=up_to(4, 3))
    assert found[0] == (Waiting(missing),)


def test_a_waiting_record_does_not_count_on_those_that_are_finished() -> None:
    found = of(
        known(SPEECH, 3),
        known(IMAGE, 3),
        known(SENSOR, 3),
        letters=(lettered(at(IMAGE, 3)),),
        speech=up_to(4, 3),
        image=up_to(4),
        sensor=up_to(4),
    )
    assert found[0] == (Waiting((IMAGE, SENSOR)),)


def test_one_that_does_not_decode_waits_for_nothing() -> None:
    assert of(known(SPEECH, 3, None), speech=up_to(4, 3)) == [(Waiting(()),)]
