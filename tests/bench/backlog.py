"""The work: three topics, one event of each per key, each some keys out of place, waiting to be read."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.events.codec import Codec
from pipeline.events.records import (
    Event,
    ImageEncoding,
    ImageEvent,
    Modality,
    SensorEvent,
    SpeechEncoding,
    SpeechEvent,
)
from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.contract import Output
from pipeline.kafka.producer import RecordProducer
from pipeline.settings import Settings

OUT_OF_PLACE = 200
SPACING_US = 200


@dataclass(frozen=True, slots=True)
class Work:
    """How many triples, with payloads of how many bytes for speech, image and sensor."""

    name: str
    triples: int
    payload_bytes: tuple[int, int, int]


SMALL = Work("small", 200_000, (200, 200, 200))
REALISTIC = Work("realistic", 16_000, (16_384, 6_144, 2_048))


def event(modality: Modality, event_time_ms: int, payload: bytes) -> Event:
    """Returns an event whose media are just bytes; the stub model takes their mean."""
    match modality:
        case Modality.SPEECH:
            return SpeechEvent(event_time_ms, "bench", 16_000, SpeechEncoding.PCM_S16LE, payload)
        case Modality.IMAGE:
            return ImageEvent(event_time_ms, "bench", ImageEncoding.PNG, payload)
        case Modality.SENSOR:
            return SensorEvent(event_time_ms, "bench", 100.0, ("x", "y"), payload)


def fill(settings: Settings, work: Work, seed: int = 1) -> None:
    """Makes the topics and publishes the work, `SPACING_US` of event time from key to key."""
    TopicAdmin(settings.kafka, settings.topics).create()
    codec, rng = Codec(), random.Random(seed)
    payloads = {m: rng.randbytes(size) for m, size in zip(Modality, work.payload_bytes, strict=True)}
    begin_ms = time.time_ns() // 1_000_000 - work.triples * SPACING_US // 1_000
    orders = {modality: _shuffled(work.triples, rng) for modality in Modality}
    with RecordProducer(settings.kafka, "bench", 1 << 20) as producer:
        for place in range(work.triples):
            for modality in Modality:
                number = orders[modality][place]
                time_ms = begin_ms + number * SPACING_US // 1_000
                value = codec.encode_event(event(modality, time_ms, payloads[modality]))
                producer.publish(Output(settings.topics.source(modality), b"key-%d" % number, value))


def _shuffled(count: int, rng: random.Random) -> Sequence[int]:
    """Returns 0..count-1, each at most `OUT_OF_PLACE` places from its own."""
    return sorted(range(count), key=lambda number: number + rng.uniform(0, OUT_OF_PLACE))
