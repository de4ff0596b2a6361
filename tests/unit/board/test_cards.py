from base64 import b64decode
from dataclasses import replace

from consumers.board.cards import CHARACTERS, COLUMNS, LABELS, CardMaker, letter_shown
from pipeline.events.codec import Codec
from pipeline.events.records import DeadLetter, Modality, Reason, SourceOffset
from pipeline.kafka.contract import Message
from pipeline.settings import TopicSettings
from tests.support.events import encoded
from tests.support.predictions import a_prediction

TOPICS = TopicSettings()
MAKER = CardMaker(Codec(), TOPICS)
SOURCES = tuple(SourceOffset(topic, 1, 7) for topic in TOPICS.sources)
PREDICTION = a_prediction(1, modalities=tuple(Modality), sources=SOURCES)
PLACE = Message("predictions", 2, 9, 1_000, b"k", b"")


def record(source: SourceOffset, value: bytes | None) -> Message:
    return Message(source.topic, source.partition, source.offset, 0, b"k", value)


RECORDS = {source: record(source, encoded(Modality(number), 0)) for number, source in enumerate(SOURCES)}


def test_a_card_has_a_preview_of_each_input() -> None:
    card = MAKER.card(PLACE, PREDICTION, RECORDS)
    speech, image, sensor = (card.inputs[name] for name in ("speech", "image", "sensor"))
    assert card.place == "predictions[2]@9"
    assert not card.partial
    assert speech.waveform is not None
    assert len(speech.waveform) == COLUMNS
    assert image.picture is not None
    kind, data = image.picture.split(",")
    assert kind == "data:image/png;base64"
    assert b64decode(data).startswith(b"\x89PNG")
    assert sensor.pen is not None


def test_inputs_that_cannot_be_had_say_why() -> None:
    broken = RECORDS | {SOURCES[1]: record(SOURCES[1], b"no Avro"), SOURCES[2]: record(SOURCES[2], None)}
    del broken[SOURCES[0]]
    card = MAKER.card(PLACE, PREDICTION, broken)
    assert "retention" in (card.inputs["speech"].problem or "")
    assert card.inputs["image"].problem
    assert "retention" in (card.inputs["sensor"].problem or "")


def test_a_partial_prediction_has_no_more_inputs_than_it_had() -> None:
    partial = replace(PREDICTION, modalities=(Modality.SPEECH, Modality.SENSOR), sources=(SOURCES[0], SOURCES[2]))
    card = MAKER.card(PLACE, partial, RECORDS)
    assert card.partial
    assert set(card.inputs) == {"speech", "sensor"}


def test_sources_in_foreign_topics_are_passed_over() -> None:
    foreign = replace(PREDICTION, sources=(SourceOffset("elsewhere", 0, 1), SOURCES[0]))
    assert MAKER.wanted(foreign) == {Modality.SPEECH: SOURCES[0]}


def test_a_card_is_small_whatever_the_prediction() -> None:
    huge = replace(
        PREDICTION, key="k" * 40_000, label="l" * 40_000, probabilities={f"{n}": n / 9 for n in range(3_000)}
    )
    card = MAKER.card(PLACE, huge, {})
    assert len(card.key) == len(card.label) == CHARACTERS
    assert [label for label, _ in card.probabilities] == [f"{2_999 - n}" for n in range(LABELS)]


def test_a_letter_with_a_key_that_is_no_text_can_be_shown() -> None:
    letter = DeadLetter(Reason.INVALID, "d" * 1_000, b"\xff<b>", b"value", SOURCES, 5)
    shown = letter_shown(Message("dead-letters", 0, 3, 0, None, b""), letter)
    assert (shown.key, len(shown.detail), shown.place) == ("\ufffd<b>", CHARACTERS, "dead-letters[0]@3")
