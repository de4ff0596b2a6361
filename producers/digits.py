"""Replays the reference task's held-out digits as if three devices recorded them now.

What is published, when and with which faults is a plan: the same options and times give the same plan. Sending it
is separate.

The truth travels in two ways. Every record of a digit has the header ``label``, "0" to "9". And its key,
``digit-<run>-<n>``, names the n-th triple of `pipeline.digits.replay.triples(count, seed)`, which has it too.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from math import inf
from random import Random
from typing import TYPE_CHECKING

from pipeline.events.codec import Codec
from pipeline.events.records import Headers, ImageEncoding, Modality, Reason, SpeechEncoding
from pipeline.kafka.contract import Output
from pipeline.settings import TopicSettings
from producers import garbage, image, sensor, speech
from producers.errors import InvalidInput
from producers.garbage import Moment

if TYPE_CHECKING:
    from pipeline.digits.replay import Triple

LABEL_HEADER = "label"
GARBAGE_HEADER = "garbage"
"""Names, in a bad record, what is wrong with it."""
SPEECH_RATE = 16_000
CHANNELS = ("x", "y")
PEN_RATE = 100.0
JPEG_QUALITY = 90
DUPLICATE_DELAY_MS = 250
"""The second copy of a duplicate is sent up to this much after the first."""
_AUDIO = (SpeechEncoding.WAV, SpeechEncoding.FLAC, SpeechEncoding.PCM_S16LE)
_PICTURES = (ImageEncoding.PNG, ImageEncoding.JPEG)
_COUNTED = {1: "alone", 2: "partial", 3: "complete"}

Clock = Callable[[], int]
"""Returns the time in milliseconds since the epoch."""
Wait = Callable[[float], None]
"""Waits that many seconds."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What to publish and what shall go wrong.

    Attributes:
        run: names this replay within the topics; two replays of one name within a join window are one moment.
        count: triples.
        rate: triples a second; 0 is as fast as possible.
        missing: probability of each single event not to be published.
        duplicates: probability of each published event to be published twice.
        shuffle_ms: events are sent up to this much after their event time, so out of order.
        garbage: bad records, spread over the run; see `producers.garbage`.
        seed: of all choices.
    """

    run: str
    count: int
    rate: float = 0.0
    missing: float = 0.0
    duplicates: float = 0.0
    shuffle_ms: int = 0
    garbage: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.missing <= 1 and 0 <= self.duplicates <= 1):
            raise InvalidInput("--missing and --duplicates are probabilities: give 0 to 1.")
        if self.count < 1 or not 0 <= self.rate < inf or min(self.shuffle_ms, self.garbage) < 0:
            raise InvalidInput("--count must be 1 or more, --rate, --shuffle-ms and --garbage 0 or more.")


@dataclass(frozen=True, slots=True)
class Planned:
    """A record and when it is to be sent, milliseconds since the epoch."""

    send_at_ms: int
    output: Output


@dataclass(frozen=True, slots=True)
class Summary:
    """What a plan came to, and what an exact consumer with two modalities for a partial makes of it.

    Attributes:
        records: all that is sent.
        complete: keys with all three good events.
        partial: keys with two.
        alone: keys with one.
        missing: events left out.
        dead_letters: reason → how many records must become dead letters.
    """

    records: int = 0
    complete: int = 0
    partial: int = 0
    alone: int = 0
    missing: int = 0
    dead_letters: Mapping[Reason, int] = field(default_factory=dict)

    @property
    def predictions(self) -> int:
        """How many predictions are to be expected."""
        return self.complete + self.partial


class Plan:
    """The records of a replay, in the order of sending. An iterator; its summary grows as it is taken.

    Args:
        replay: what to publish.
        triples: at least `replay.count` of them.
        moments: when each happens, milliseconds since the epoch, never falling; see `moments`.
        topics: names of the topics.
        codec: encodes the events.
    """

    def __init__(
        self,
        replay: Replay,
        triples: Iterable["Triple"],
        moments: Iterable[int],
        topics: TopicSettings,
        codec: Codec,
    ) -> None:
        self._replay = replay
        self._topics = topics
        self._codec = codec
        self._random = Random(f"digits {replay.seed}")
        self._waiting: list[tuple[int, int, Output]] = []
        self._order = count()
        self._counts: Counter[str] = Counter()
        self._dead_letters: Counter[Reason] = Counter()
        self._records = self._scheduled(zip(triples, range(replay.count), moments, strict=False))

    def __iter__(self) -> Iterator[Planned]:
        return self._records

    @property
    def summary(self) -> Summary:
        """What has been planned so far."""
        return Summary(**self._counts, dead_letters=dict(self._dead_letters))

    def _scheduled(self, happenings: Iterable[tuple["Triple", int, int]]) -> Iterator[Planned]:
        for triple, n, moment_ms in happenings:
            self._plan_digit(n, triple, moment_ms)
            for number in self._garbage_at(n):
                self._plan_garbage(number, triple, moment_ms)
            yield from self._due(moment_ms)
        yield from self._due(None)

    def _due(self, moment_ms: int | None) -> Iterator[Planned]:
        """Yields what is to be sent until a moment, or all that is left."""
        while self._waiting and (moment_ms is None or self._waiting[0][0] <= moment_ms):
            send_at_ms, _, output = heapq.heappop(self._waiting)
            self._counts["records"] += 1
            yield Planned(send_at_ms, output)

    def _plan_digit(self, n: int, triple: "Triple", moment_ms: int) -> None:
        key = f"digit-{self._replay.run}-{n}".encode()
        moment = self._moment(triple, moment_ms)
        present = [m for m in Modality if self._random.random() >= self._replay.missing]
        for modality in present:
            output = self._good(modality, key, moment, triple.label)
            send_at_ms = self._plan(output, moment_ms)
            if self._random.random() < self._replay.duplicates:
                self._put(output, send_at_ms + self._random.randint(1, DUPLICATE_DELAY_MS))
                self._dead_letters[Reason.DUPLICATE] += 1
        self._counts["missing"] += len(Modality) - len(present)
        if present:
            self._counts[_COUNTED[len(present)]] += 1
        if len(present) == 1:
            self._dead_letters[Reason.INCOMPLETE] += 1

    def _garbage_at(self, n: int) -> range:
        """Returns the numbers of the bad records beside the n-th triple: spread evenly, whatever the counts."""
        bad, triples = self._replay.garbage, self._replay.count
        return range(-(-n * bad // triples), -(-(n + 1) * bad // triples))

    def _plan_garbage(self, number: int, triple: "Triple", moment_ms: int) -> None:
        kind = garbage.KINDS[number % len(garbage.KINDS)]
        key = f"garbage-{self._replay.run}-{number}".encode()
        moment = self._moment(triple, moment_ms)
        bad = kind.build(key, moment, self._codec)
        headers = ((GARBAGE_HEADER, kind.name.encode()),)
        self._plan(Output(self._topics.source(bad.modality), bad.key, bad.value, headers), moment_ms)
        self._dead_letters[kind.reason] += 1
        if kind.accompanied:
            for modality in Modality:
                if modality is not bad.modality:
                    self._plan(self._good(modality, key, moment, triple.label), moment_ms)
            self._counts["partial"] += 1

    def _moment(self, triple: "Triple", moment_ms: int) -> Moment:
        source = f"digits {self._replay.run}"
        audio, picture = self._random.choice(_AUDIO), self._random.choice(_PICTURES)
        return Moment(
            speech.from_samples(triple.speech, SPEECH_RATE, moment_ms, source, audio),
            image.from_array(triple.image, moment_ms, source, picture, JPEG_QUALITY),
            sensor.from_array(triple.pen, PEN_RATE, CHANNELS, moment_ms, source),
        )

    def _good(self, modality: Modality, key: bytes, moment: Moment, label: str) -> Output:
        headers = ((LABEL_HEADER, label.encode()),)
        return Output(self._topics.source(modality), key, self._codec.encode_event(moment[modality]), headers)

    def _plan(self, output: Output, moment_ms: int) -> int:
        """Plans a record for its moment or, shuffled, a little later; returns when."""
        send_at_ms = moment_ms + self._random.randint(0, self._replay.shuffle_ms)
        self._put(output, send_at_ms)
        return send_at_ms

    def _put(self, output: Output, send_at_ms: int) -> None:
        heapq.heappush(self._waiting, (send_at_ms, next(self._order), output))


def moments(rate: float, clock: Clock) -> Iterator[int]:
    """Yields when the triples happen: `rate` a second from now on, or with 0 whenever the next is asked for."""
    start_ms = clock()
    for n in count():
        yield start_ms + round(n * 1_000 / rate) if rate else clock()


def send(plan: Iterable[Planned], publish: Callable[[Output], None], clock: Clock, wait: Wait) -> None:
    """Publishes each record of a plan when its time has come; late ones at once.

    Args:
        plan: records in the order of sending.
        publish: hands a record to the client.
        clock: the time, as the plan has it.
        wait: waits that many seconds.
    """
    for planned in plan:
        if (early_ms := planned.send_at_ms - clock()) > 0:
            wait(early_ms / 1_000)
        publish(planned.output)


def label_of(headers: Headers) -> str | None:
    """Returns the true label of a replayed record; None for any other record."""
    return next((value.decode() for name, value in headers if name == LABEL_HEADER), None)
