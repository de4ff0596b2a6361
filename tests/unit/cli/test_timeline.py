"""What became of a key, as it is printed."""

import json
from dataclasses import replace

import pytest

from pipeline.cli.timeline import Index, Names, as_object, entries
from pipeline.events.records import DeadLetter, Headers, Modality, Reason, SourceOffset
from pipeline.join.fate import DeadLettered, Fate, Predicted, Unproven, Unread, Waiting
from pipeline.kafka.history import FoundLetter, FoundPrediction, History, SourceRecord
from pipeline.kafka.retries import FIRST_ATTEMPT, RETRY_COUNT, RETRY_OF
from pipeline.search.documents import document
from tests.support.predictions import NOON_MS, PREDICTION

NAMES = Names("the-group", "predictions", 10_000)
SPEECH_AT = SourceOffset("speech", 3, 17)
PREDICTION_AT = SourceOffset("predictions", 3, 5)
LETTER_AT = SourceOffset("dead-letters", 3, 2)
ID = PREDICTION.prediction_id
WRITTEN = document(PREDICTION, "predictions")
FOUND = FoundPrediction(PREDICTION_AT, NOON_MS + 1_300, PREDICTION)


def a_letter(source: SourceOffset, reason: Reason = Reason.LATE) -> FoundLetter:
    return FoundLetter(LETTER_AT, NOON_MS + 2_000, DeadLetter(reason, "Too late.", b"k", None, (source,), NOON_MS))


def a_history(
    *fates: Fate,
    headers: Headers = (),
    event_time_ms: int | None = NOON_MS,
    predictions: tuple[FoundPrediction, ...] = (),
    letters: tuple[FoundLetter, ...] = (),
) -> History:
    problem = "" if event_time_ms is not None else "It starts with 00."
    record = SourceRecord(SPEECH_AT, Modality.SPEECH, NOON_MS + 250, headers, 99, event_time_ms, problem)
    return History(b"digit-7", 3, 6, (record,), predictions, letters, {SPEECH_AT: fates})


def lines(history: History, index: Index | None = None) -> list[str]:
    return [
        line
        for entry in entries(history, index or Index(), NAMES)
        for line in (f"{entry.place} {entry.what}", *entry.more)
    ]


@pytest.mark.parametrize(
    ("fate", "line"),
    [
        (Predicted(ID, (0,)), f"→ prediction {ID}, revision 0"),
        (Predicted(ID, (0, 1)), f"→ prediction {ID}, revisions 0, 1"),
        (DeadLettered(LETTER_AT, Reason.LATE), "→ dead letter dead-letters[3]@2, LATE"),
        (
            Waiting((Modality.IMAGE, Modality.SENSOR)),
            "→ open: waits for image, sensor until event time has passed 2026-01-01 12:00:10.000 (join.window_ms)",
        ),
        (Waiting(()), "→ open: all its inputs are there, or it is about to be set aside"),
        (Unread(), "→ open: the group the-group has not committed that it has come to it"),
        (
            Unproven(),
            "→ finished, but no output names it: deleted by retention (or before --since), else lost; see `audit`",
        ),
    ],
)
def test_a_source_record_and_what_became_of_it(fate: Fate, line: str) -> None:
    first = "speech[3]@17 event time 2026-01-01 12:00:00.000 (250 ms earlier), label: 7"
    assert lines(a_history(fate, headers=(("label", b"7"),))) == [first, line]


def test_a_record_that_does_not_decode_says_why() -> None:
    assert lines(a_history(Unread(), event_time_ms=None))[0] == "speech[3]@17 It starts with 00"


def test_a_letter_and_its_retry_name_each_other() -> None:
    headers = ((RETRY_OF, str(LETTER_AT).encode()), (RETRY_COUNT, b"2"), (FIRST_ATTEMPT, b"speech[3]@0"))
    told = lines(a_history(Unread(), headers=headers, letters=(a_letter(SourceOffset("speech", 3, 1)),)))
    assert told[0].endswith("(250 ms earlier), retry 2 of dead-letters[3]@2, first tried as speech[3]@0")
    assert told[2:] == ["dead-letters[3]@2 LATE: Too late.", "of speech[3]@1", "→ retried as speech[3]@17"]


@pytest.mark.parametrize(
    ("index", "letters", "state"),
    [
        (Index((PREDICTION,)), (), f"→ indexed as {WRITTEN}"),
        (Index((replace(PREDICTION, revision=1),)), (), "→ the index has revision 1 of it"),
        (Index(), (), "→ not indexed yet"),
        (Index(problem="No answer."), (), "→ nobody knows whether it is indexed"),
        (Index(), (a_letter(PREDICTION_AT, Reason.REJECTED),), "→ refused by the indexer: dead-letters[3]@2"),
    ],
)
def test_a_prediction_and_its_document(index: Index, letters: tuple[FoundLetter, ...], state: str) -> None:
    told = lines(a_history(Predicted(ID, (0,)), predictions=(FOUND,), letters=letters), index)
    assert told[2:5] == [
        "predictions[3]@5 7 (93.0%) from speech, sensor, 42 ms after the newest of them, by digits-small 1.0.0",
        f"prediction {ID}, revision 0",
        state,
    ]


def test_a_document_whose_prediction_is_gone_is_told_at_its_time() -> None:
    told = lines(a_history(Unread()), Index((PREDICTION,)))
    assert told[2].startswith(f"{WRITTEN} 7 (93.0%) from speech, sensor")


def test_the_same_for_programs() -> None:
    history = a_history(
        Predicted(ID, (0,)), headers=(("x", b"\xff"),), predictions=(FOUND,), letters=(a_letter(SPEECH_AT),)
    )
    said = json.loads(json.dumps(as_object(history, Index((PREDICTION,)), "predictions")))
    (record,) = said["records"]
    assert record["outcomes"] == [{"outcome": "predicted", "prediction_id": ID, "revisions": [0]}]
    assert (record["taken_at"], record["headers"]) == ("2026-01-01T12:00:00.250Z", {"x": repr(b"\xff")})
    assert [(found["at"], found["indexed"]) for found in said["predictions"]] == [("predictions[3]@5", True)]
    assert [found["reason"] for found in said["dead_letters"]] == ["LATE"]
    assert [found["index"] for found in said["documents"]] == ["predictions-2026.01.01"]
    unknown = as_object(history, Index(problem="No answer."), "predictions")
    assert (unknown["predictions"][0]["indexed"], unknown["elasticsearch_problem"]) == (None, "No answer.")
