"""What the scan calls an event is one, with the time that the codec reads; whatever the bytes are."""

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from pipeline.events.codec import Codec
from pipeline.events.errors import Undecodable
from pipeline.events.records import (
    Event,
    ImageEncoding,
    ImageEvent,
    Modality,
    SensorEvent,
    SpeechEncoding,
    SpeechEvent,
)
from pipeline.events.scan import scan
from tests.support.events import media_of

CODEC = Codec()
TIMES = st.one_of(st.integers(0, 2**62), st.integers(-(2**62), -1), st.integers(1_600_000_000_000, 1_900_000_000_000))
SOURCES = st.text(max_size=30)
MEDIA = st.binary(max_size=200)


def sensors() -> st.SearchStrategy[SensorEvent]:
    channels = st.lists(st.text(max_size=6), min_size=0, max_size=5).map(tuple)
    frames = channels.flatmap(
        lambda names: st.tuples(
            st.just(names),
            st.one_of(st.integers(0, 6).map(lambda n: bytes(4 * n * max(1, len(names)))), st.binary(max_size=20)),
        )
    )
    return st.builds(
        lambda time_ms, source, rate, stretch: SensorEvent(time_ms, source, rate, stretch[0], stretch[1]),
        TIMES,
        SOURCES,
        st.floats(width=32, allow_nan=False),
        frames,
    )


def events(modality: Modality) -> st.SearchStrategy[Event]:
    match modality:
        case Modality.SPEECH:
            return st.builds(
                SpeechEvent, TIMES, SOURCES, st.integers(0, 48_000), st.sampled_from(SpeechEncoding), MEDIA
            )
        case Modality.IMAGE:
            return st.builds(ImageEvent, TIMES, SOURCES, st.sampled_from(ImageEncoding), MEDIA)
        case Modality.SENSOR:
            return sensors()


@st.composite
def mistreated(draw: st.DrawFn, modality: Modality) -> bytes:
    """An encoded event, perhaps cut, lengthened or changed in a byte; or any bytes at all."""
    value = CODEC.encode_event(draw(events(modality)))
    match draw(st.integers(0, 5)):
        case 0:
            return value[: draw(st.integers(0, len(value)))]
        case 1:
            return value + draw(st.binary(min_size=1, max_size=4))
        case 2:
            at = draw(st.integers(0, len(value) - 1))
            return value[:at] + draw(st.binary(min_size=1, max_size=1)) + value[at + 1 :]
        case 3:
            return draw(st.binary(max_size=60))
        case _:
            return value


def is_plain(event: Event) -> bool:
    """Whether the scan is there for such an event."""
    in_order = 0 <= event.event_time_ms < 2**55 and len(media_of(event)) > 0
    if not isinstance(event, SensorEvent):
        return in_order
    return in_order and len(event.channels) > 0 and len(event.values) % (4 * len(event.channels)) == 0


@given(st.tuples(*(st.lists(events(modality), max_size=6) for modality in Modality)))
def test_every_plain_event_is_found(batches: tuple[list[Event], ...]) -> None:
    together = list(chain(*batches))
    found = scan([CODEC.encode_event(event) for event in together], [len(batch) for batch in batches])
    assert found.ok.tolist() == [is_plain(event) for event in together]
    for row, event in enumerate(together):
        if found.ok[row]:
            assert found.event_time_ms[row] == event.event_time_ms


@given(st.tuples(*(st.lists(mistreated(modality), max_size=6) for modality in Modality)))
def test_what_is_found_is_what_the_codec_reads(batches: tuple[list[bytes], ...]) -> None:
    found = scan(list(chain(*batches)), [len(batch) for batch in batches])
    of_each = [(modality, value) for modality, values in zip(Modality, batches, strict=True) for value in values]
    for row, (modality, value) in enumerate(of_each):
        if not found.ok[row]:
            continue
        try:
            event = CODEC.decode_event(modality, value)
        except Undecodable as error:
            if "UnicodeDecodeError" not in str(error):  # texts are looked at when the media are decoded
                raise
            continue
        assert is_plain(event)
        assert event.event_time_ms == found.event_time_ms[row]


def test_a_long_source_is_left_to_the_codec() -> None:
    values = [
        CODEC.encode_event(ImageEvent(5, "s" * length, ImageEncoding.PNG, b"picture")) for length in (10, 120, 200)
    ]
    assert scan(values, [0, len(values), 0]).ok.tolist() == [True, True, False]


def test_a_time_of_more_digits_than_are_looked_at_is_left_to_the_codec() -> None:
    has_a_ninth_digit_that_would_do_for_the_length_of_a_source = 2**56
    event = ImageEvent(has_a_ninth_digit_that_would_do_for_the_length_of_a_source, "", ImageEncoding.PNG, b"picture")
    assert scan([CODEC.encode_event(event)], [0, 1, 0]).ok.tolist() == [False]
