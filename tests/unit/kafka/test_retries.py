"""What is published again for a dead letter, and what is not."""

from dataclasses import replace

import pytest

from pipeline.events.records import DeadLetter, Modality, Reason, SourceOffset
from pipeline.kafka.contract import Message, Output
from pipeline.kafka.letters import Placed, Wanted
from pipeline.kafka.retries import FIRST_ATTEMPT, RETRY_COUNT, RETRY_OF, Plan, Refused, Retry, Terms, prepared, settled
from pipeline.settings import TopicSettings
from tests.support.events import CODEC, encoded, event

TOPICS = TopicSettings(prefix="t.")
LETTER = DeadLetter(
    Reason.LATE,
    "Too late.",
    b"door-17",
    encoded(Modality.IMAGE, 1_000),
    (SourceOffset("t.image", 2, 40),),
    5,
    {"label": b"7"},
)


def placed(letter: DeadLetter, offset: int = 17) -> Placed:
    return Placed(Message("t.dead-letters", 2, offset, 9, letter.key, b""), letter)


def a_retry(offset: int, taken_ms: int = 0, topic: str = "t.speech", key: bytes = b"k") -> Retry:
    return Retry(SourceOffset("t.dead-letters", 2, offset), taken_ms, topic, key)


def offsets(plan: Plan) -> tuple[list[int], list[int]]:
    return [retry.letter.offset for retry in plan.retries], [no.letter.offset for no in plan.refused]


def test_the_original_is_published_as_it_was_with_a_header_that_names_the_letter() -> None:
    output = prepared(placed(LETTER), TOPICS, CODEC)
    first = str(LETTER.sources[0]).encode()
    headers = (("label", b"7"), (RETRY_OF, b"t.dead-letters[2]@17"), (RETRY_COUNT, b"1"), (FIRST_ATTEMPT, first))
    assert output == Output("t.image", b"door-17", LETTER.value or b"", headers)


@pytest.mark.parametrize(("before", "after"), [(b"1", b"2"), (b"9", b"10"), (b"many", b"1")])
def test_a_retry_of_a_retry_is_counted_and_names_the_newer_letter_and_the_first_attempt(
    before: bytes, after: bytes
) -> None:
    ours = {RETRY_OF: b"t.dead-letters[2]@3", RETRY_COUNT: before, FIRST_ATTEMPT: b"t.image[2]@1"}
    letter = replace(LETTER, headers=ours)
    output = prepared(placed(letter, 30), TOPICS, CODEC)
    assert isinstance(output, Output)
    assert dict(output.headers) == {**ours, RETRY_OF: b"t.dead-letters[2]@30", RETRY_COUNT: after}


def test_another_event_time_changes_nothing_else_of_the_event() -> None:
    output = prepared(placed(LETTER), TOPICS, CODEC, 90_000)
    assert isinstance(output, Output)
    assert CODEC.decode_event(Modality.IMAGE, output.value) == event(Modality.IMAGE, 90_000)


def test_what_does_not_decode_is_published_as_it_was_and_gets_no_other_event_time() -> None:
    garbage = placed(replace(LETTER, reason=Reason.UNDECODABLE, value=b"garbage"))
    output = prepared(garbage, TOPICS, CODEC)
    assert isinstance(output, Output)
    assert output.value == b"garbage"
    refused = prepared(garbage, TOPICS, CODEC, 90_000)
    assert isinstance(refused, Refused)
    assert "does not decode" in refused.why


@pytest.mark.parametrize(
    ("letter", "why"),
    [
        (replace(LETTER, value=None, reason=Reason.TOO_LARGE), "larger than topics.max_record_bytes (4,194,304)"),
        (replace(LETTER, key=None), "has no key"),
        (replace(LETTER, key=b""), "has no key"),
        (replace(LETTER, key=b"\xff"), "not UTF-8"),
        (replace(LETTER, key=b"k" * 257), "257 bytes, and 256 are allowed"),
        (replace(LETTER, reason=Reason.REJECTED, sources=(SourceOffset("t.predictions", 0, 1),)), "no source record"),
        (replace(LETTER, sources=(SourceOffset("image", 0, 1),)), "It accounts for image[0]@1"),
        (replace(LETTER, sources=()), "It accounts for no record"),
        (replace(LETTER, sources=LETTER.sources * 2), "t.image[2]@40, t.image[2]@40"),
    ],
)
def test_what_cannot_be_published_again_is_refused_with_the_reason(letter: DeadLetter, why: str) -> None:
    refused = prepared(placed(letter), TOPICS, CODEC)
    assert isinstance(refused, Refused)
    assert refused.letter == SourceOffset("t.dead-letters", 2, 17)
    assert why in refused.why


@pytest.mark.parametrize(
    ("what", "terms", "published", "refused"),
    [
        ("what was retried is left out, the oldest comes first", Terms(), [3, 1], [2]),
        ("unless it is asked for again", Terms(again=True), [3, 1, 2], []),
        ("the limit counts what is published", Terms(limit=1), [3], [2]),
        ("one record of a topic and key has room in one new moment", Terms(event_time_ms=5), [3], [1, 2]),
    ],
)
def test_the_plan(what: str, terms: Terms, published: list[int], refused: list[int]) -> None:
    earlier = {a_retry(2).letter: SourceOffset("t.speech", 0, 99)}
    plan = settled([a_retry(1, 20), a_retry(2, 30), a_retry(3, 10)], earlier, terms)
    assert offsets(plan) == (published, refused), what
    assert all("t.speech[0]@99: --again" in no.why for no in plan.refused if no.letter.offset == 2)


def test_a_new_moment_has_room_for_other_keys_and_topics() -> None:
    candidates = [a_retry(1), a_retry(2, key=b"other"), a_retry(3, topic="t.image")]
    assert offsets(settled(candidates, {}, Terms(event_time_ms=5))) == ([1, 2, 3], [])


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (Wanted(), True),
        (Wanted(frozenset({Reason.LATE, Reason.INVALID})), True),
        (Wanted(frozenset({Reason.INVALID})), False),
        (Wanted(key=b"door-17"), True),
        (Wanted(key=b"door-1"), False),
        (Wanted(topic="t.image"), True),
        (Wanted(topic="t.speech"), False),
    ],
)
def test_filters(wanted: Wanted, matches: bool) -> None:
    assert wanted.matches(LETTER) == matches
