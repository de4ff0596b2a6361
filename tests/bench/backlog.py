"""The work: three topics, one event of each per key, each some keys out of place, waiting to be read."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.events.codec import Codec
from pipeline.events.records import (
    Event,
    Headers,
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
# Different, prime numbers of payloads: an event joined with a stranger's changes the mean.
_PAYLOADS = (61, 59, 53)

Means = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Work:
    """How many triples, with payloads of how many bytes for speech, image and sensor."""

    name: str
    triples: int
    payload_bytes: tuple[int, int, int]

    def scaled(self, scale: float) -> "Work":
        """Returns a share of the work, for a quick look."""
        return Work(self.name, max(1_000, round(self.triples * scale)), self.payload_bytes)


SMALL = Work("small", 200_000, (200, 200, 200))
REALISTIC = Work("realistic", 16_000, (16_384, 6_144, 2_048))


@dataclass(frozen=True, slots=True)
class Backlog:
    """The published work and the right answers, by the number in the key.

    Attributes:
        work: what was asked for.
        settings: the broker and the topics.
        of_media: the mean byte of the three media; what a consumer that decodes the events finds.
        of_values: that of the three records' whole values; what a consumer that does not decode finds.
    """

    work: Work
    settings: Settings
    of_media: Means
    of_values: Means


def event(modality: Modality, event_time_ms: int, payload: bytes) -> Event:
    """Returns an event whose media are just bytes; the stub model takes their mean."""
    match modality:
        case Modality.SPEECH:
            return SpeechEvent(event_time_ms, "bench", 16_000, SpeechEncoding.PCM_S16LE, payload)
        case Modality.IMAGE:
            return ImageEvent(event_time_ms, "bench", ImageEncoding.PNG, payload)
        case Modality.SENSOR:
            return SensorEvent(event_time_ms, "bench", 100.0, ("x", "y"), payload)


def fill(
    settings: Settings, work: Work, seed: int = 1, headers: Callable[[int], Headers] = lambda _number: ()
) -> Backlog:
    """Makes the topics and publishes the work, `SPACING_US` of event time from key to key.

    Args:
        settings: the broker and the topics.
        work: how much of what.
        seed: of the payloads and the order.
        headers: of the events of the key with a number.
    """
    TopicAdmin(settings.kafka, settings.topics).create()
    rng = random.Random(seed)
    payloads = {
        m: list(_payloads(rng, size, n)) for m, size, n in zip(Modality, work.payload_bytes, _PAYLOADS, strict=True)
    }
    begin_ms = time.time_ns() // 1_000_000 - work.triples * SPACING_US // 1_000
    orders = {modality: _shuffled(work.triples, rng) for modality in Modality}
    codec = Codec()
    media, values = _Sums(work.triples), _Sums(work.triples)
    with RecordProducer(settings.kafka, "bench", 1 << 20) as producer:
        for place in range(work.triples):
            for modality in Modality:
                number = orders[modality][place]
                pool = payloads[modality]
                payload, payload_sum = pool[number % len(pool)]
                time_ms = begin_ms + number * SPACING_US // 1_000
                value = codec.encode_event(event(modality, time_ms, payload))
                media.add(number, payload_sum, len(payload))
                values.add(number, payload_sum + _around(value, payload), len(value))
                producer.publish(Output(settings.topics.source(modality), b"key-%d" % number, value, headers(number)))
    return Backlog(work, settings, media.means(), values.means())


class _Sums:
    def __init__(self, triples: int) -> None:
        self._sums, self._lengths = [0] * triples, [0] * triples

    def add(self, number: int, byte_sum: int, length: int) -> None:
        self._sums[number] += byte_sum
        self._lengths[number] += length

    def means(self) -> Means:
        return np.array(self._sums, np.int64) // np.array(self._lengths, np.int64)


def _payloads(rng: random.Random, size: int, count: int) -> Iterator[tuple[bytes, int]]:
    """Yields payloads of different means, as incompressible as media are, and the sums of their bytes."""
    for number in range(count):
        lowest = number * 191 // count
        payload = bytes(lowest + byte % 64 for byte in rng.randbytes(size))
        yield payload, sum(payload)


def _around(value: bytes, payload: bytes) -> int:
    """Returns the sum of the bytes of an encoded event before and after its payload."""
    begin = value.rindex(payload)
    return sum(value[:begin]) + sum(value[begin + len(payload) :])


def _shuffled(count: int, rng: random.Random) -> Sequence[int]:
    """Returns 0..count-1, each at most `OUT_OF_PLACE` places from its own."""
    return sorted(range(count), key=lambda number: number + rng.uniform(0, OUT_OF_PLACE))
