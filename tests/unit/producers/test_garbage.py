"""Every kind of garbage is refused by the code that the consumer refuses with, and for the reason it names."""

import pytest

from pipeline.events.codec import Codec
from pipeline.events.errors import RecordError
from pipeline.events.records import ImageEncoding, Modality, Reason, SpeechEncoding
from pipeline.join.inspection import Inspector
from pipeline.kafka.contract import Delivery, TopicPartition
from pipeline.model.specs import InputSpecs
from pipeline.model.verdicts import media_decoder
from producers import image, sensor, speech
from producers.garbage import KINDS, Kind, Moment
from tests.unit.producers.triples import made_up

NOW_MS = 1_800_000_000_000
CODEC = Codec()
DECODE = media_decoder(CODEC, InputSpecs())
INSPECTOR = Inspector(CODEC, partitions=1, max_skew_ms=60_000, max_record_bytes=1_000_000)
TRIPLE = next(made_up(1))
MOMENTS = [
    Moment(
        speech.from_samples(TRIPLE.speech, 16_000, NOW_MS, encoding=audio),
        image.from_array(TRIPLE.image, NOW_MS, encoding=picture),
        sensor.from_array(TRIPLE.pen, 100.0, ("x", "y"), NOW_MS),
    )
    for audio in (SpeechEncoding.WAV, SpeechEncoding.FLAC, SpeechEncoding.PCM_S16LE)
    for picture in ImageEncoding
]


def delivered(key: bytes | None, value: bytes | None) -> Delivery:
    return Delivery(TopicPartition("", 0), [0], [NOW_MS], [key], [value])


def reason(kind: Kind, moment: Moment) -> Reason | None:
    """Returns why the consumer sets a bad record aside, None if it does not."""
    bad = kind.build(b"garbage-1", moment, CODEC)
    (inspected,) = INSPECTOR.inspect([(bad.modality, delivered(bad.key, bad.value))])
    for _, refusal in inspected.refused:
        return refusal.reason
    try:
        DECODE(bad.modality, bad.value or b"")
    except RecordError as error:
        return error.reason
    return None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: f"{m.speech.encoding} {m.image.encoding}")
def test_each_kind_is_set_aside_for_the_reason_it_names(kind: Kind, moment: Moment) -> None:
    assert reason(kind, moment) == kind.reason


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_good_events_are_good(moment: Moment) -> None:
    for modality in Modality:
        value = CODEC.encode_event(moment[modality])
        (inspected,) = INSPECTOR.inspect([(modality, delivered(b"garbage-1", value))])
        (record,) = inspected.records
        assert (record.key, record.event_time_ms) == (b"garbage-1", NOW_MS)
        assert DECODE(modality, value).any()


def test_what_shows_only_in_the_media_comes_with_the_other_two_events() -> None:
    for kind in KINDS:
        bad = kind.build(b"garbage-1", MOMENTS[0], CODEC)
        passes_the_join = bad.key == b"garbage-1" and kind.reason not in {Reason.UNDECODABLE, Reason.CLOCK_SKEW}
        assert kind.accompanied == passes_the_join, kind.name


def test_the_kinds_have_names_of_their_own() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
