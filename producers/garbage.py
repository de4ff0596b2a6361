"""Records that are wrong, one way each, for demos and tests: every one must become one dead letter.

What is wrong with the contents may show only when a whole moment is decoded, so those come with the two good events
of their key, which then make a partial prediction without them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from pipeline.events.codec import (
    CONFLUENT_HEADER_BYTES,
    CONFLUENT_MARKER,
    SINGLE_OBJECT_HEADER_BYTES,
    SINGLE_OBJECT_MARKER,
    Codec,
)
from pipeline.events.records import Event, ImageEvent, Modality, Reason, SensorEvent, SpeechEvent

FAR_AHEAD_MS = 24 * 3_600_000


class Moment(NamedTuple):
    """The good events of one key, in the order of the modalities."""

    speech: SpeechEvent
    image: ImageEvent
    sensor: SensorEvent


@dataclass(frozen=True, slots=True)
class Bad:
    """A record that must not become part of a prediction."""

    modality: Modality
    key: bytes | None
    value: bytes


Build = Callable[[bytes, Moment, Codec], Bad]


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to be wrong.

    Attributes:
        name: what is wrong.
        reason: of the dead letter it must become.
        build: makes the bad record from the key and the good events of a moment.
        accompanied: the two other events are published with it.
    """

    name: str
    reason: Reason
    build: Build
    accompanied: bool = False


def _damaged(modality: Modality, change: Callable[[bytes], bytes]) -> Build:
    """The bytes of a good event, changed."""
    return lambda key, moment, codec: Bad(modality, key, change(codec.encode_event(moment[modality])))


def _keyed(change: Callable[[bytes], bytes | None]) -> Build:
    """A good picture under another key."""
    return lambda key, moment, codec: Bad(_IMAGE, change(key), codec.encode_event(moment.image))


def _changed(modality: Modality, change: Callable[[Moment], Event]) -> Build:
    """Another event in the modality's topic."""
    return lambda key, moment, codec: Bad(modality, key, codec.encode_event(change(moment)))


def _far_ahead(moment: Moment) -> Event:
    return replace(moment.speech, event_time_ms=moment.speech.event_time_ms + FAR_AHEAD_MS)


def _not_a_number(moment: Moment) -> Event:
    return replace(moment.sensor, values=b"\x00\x00\xc0\x7f" + moment.sensor.values[4:])


def _gif(moment: Moment) -> Event:
    return replace(moment.image, image=b"GIF89a" * 20)


def _slow(moment: Moment) -> Event:
    return replace(moment.speech, sample_rate=400)


def _silent(moment: Moment) -> Event:
    return replace(moment.speech, audio=b"")


def _foreign(moment: Moment) -> Event:
    return replace(moment.sensor, channels=("torque", "force"))


def _unknown_schema(value: bytes) -> bytes:
    if value.startswith(SINGLE_OBJECT_MARKER):
        return SINGLE_OBJECT_MARKER + bytes(8) + value[SINGLE_OBJECT_HEADER_BYTES:]
    return CONFLUENT_MARKER + b"\x7f\xff\xff\xff" + value[CONFLUENT_HEADER_BYTES:]


_SPEECH, _IMAGE, _SENSOR = Modality.SPEECH, Modality.IMAGE, Modality.SENSOR
_UNDECODABLE, _INVALID = Reason.UNDECODABLE, Reason.INVALID

KINDS = (
    Kind("bytes that are not Avro", _UNDECODABLE, _damaged(_SPEECH, lambda value: b"\xde\xad" + value)),
    Kind("not a number among the samples", _INVALID, _changed(_SENSOR, _not_a_number), accompanied=True),
    Kind("an event time a day ahead", Reason.CLOCK_SKEW, _changed(_SPEECH, _far_ahead)),
    Kind("a record that ends too early", _UNDECODABLE, _damaged(_SPEECH, lambda value: value[: len(value) // 2])),
    Kind("no key", _INVALID, _keyed(lambda _: None)),
    Kind("not a picture", _INVALID, _changed(_IMAGE, _gif), accompanied=True),
    Kind("a picture in the speech topic", _UNDECODABLE, _changed(_SPEECH, lambda moment: moment.image)),
    Kind("an empty key", _INVALID, _keyed(lambda _: b"")),
    Kind("a sample rate below the contract", _INVALID, _changed(_SPEECH, _slow), accompanied=True),
    Kind("an unknown schema", _UNDECODABLE, _damaged(_SENSOR, _unknown_schema)),
    Kind("a key that is too long", _INVALID, _keyed(lambda key: key.ljust(300, b"+"))),
    Kind("channels of another device", _INVALID, _changed(_SENSOR, _foreign), accompanied=True),
    Kind("an empty value", _UNDECODABLE, _damaged(_SENSOR, lambda _: b"")),
    Kind("a key that is not UTF-8", _INVALID, _keyed(lambda key: b"\xff\xfe" + key)),
    Kind("no audio", _INVALID, _changed(_SPEECH, _silent), accompanied=True),
    Kind("bytes after the record", _UNDECODABLE, _damaged(_IMAGE, lambda value: value + b"more")),
)
