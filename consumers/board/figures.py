"""Rates, latencies and counts of what came out. Pure: predictions, dead letters and times in, figures out."""

from collections import Counter, deque
from dataclasses import dataclass, field
from math import ceil, log10

from pipeline.events.records import DeadLetter, Modality, Prediction

SPAN_S = 60
"""What the history, the histogram and the percentiles look back on."""
RATE_OVER_S = 5
BUCKETS_PER_DECADE = 10
BUCKETS = 5 * BUCKETS_PER_DECADE
"""From 1 ms to 100 s, each a quarter wider than the one before; the outermost also hold what is beyond."""
COMPLETE = len(Modality)


@dataclass(frozen=True, slots=True)
class Latencies:
    """The last minute's latencies: a histogram, and percentiles in milliseconds, None without any."""

    counts: tuple[int, ...]
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What came out since the board began to read.

    Attributes:
        since_ms: when that was, milliseconds since the epoch.
        predictions: all of them, amendments included.
        partial: those from fewer than three inputs.
        amended: those with a revision above 0.
        skipped: outputs passed over because the board fell behind; they are in no other figure.
        unreadable: outputs that do not decode.
        letters: dead letters.
        reasons: dead letters by reason, the most frequent first.
        rate: predictions a second over the last `RATE_OVER_S`.
        letter_rate: dead letters likewise.
        history: predictions in each of the last `SPAN_S` whole seconds, the oldest first.
        complete: latencies of predictions from three inputs.
        waited: latencies of the others.
        models: name and version of the models that answered within the span.
    """

    since_ms: int
    predictions: int
    partial: int
    amended: int
    skipped: int
    unreadable: int
    letters: int
    reasons: dict[str, int]
    rate: float
    letter_rate: float
    history: tuple[int, ...]
    complete: Latencies
    waited: Latencies
    models: tuple[str, ...]


@dataclass(slots=True)
class _Second:
    number: int
    predictions: int = 0
    letters: int = 0
    complete: Counter[int] = field(default_factory=Counter)
    waited: Counter[int] = field(default_factory=Counter)
    models: set[str] = field(default_factory=set)


class Figures:
    """Counts outputs; holds a minute of seconds, whatever the rate.

    Args:
        now_ms: when reading begins, milliseconds since the epoch.
    """

    def __init__(self, now_ms: int) -> None:
        self._since_ms = now_ms
        self._seconds: deque[_Second] = deque()
        self._reasons: Counter[str] = Counter()
        self.predictions = self.partial = self.amended = self.skipped = self.unreadable = 0

    def prediction(self, prediction: Prediction, now_ms: int) -> None:
        """A prediction was read."""
        second = self._second(now_ms)
        second.predictions += 1
        second.models.add(f"{prediction.model} {prediction.model_version}"[:100])
        self.predictions += 1
        self.amended += prediction.revision > 0
        if len(prediction.modalities) == COMPLETE and not prediction.revision:
            second.complete[bucket(prediction.latency_ms)] += 1
        else:
            self.partial += len(prediction.modalities) < COMPLETE
            second.waited[bucket(prediction.latency_ms)] += 1

    def letter(self, letter: DeadLetter, now_ms: int) -> None:
        """A dead letter was read."""
        self._second(now_ms).letters += 1
        self._reasons[letter.reason.value] += 1

    def summary(self, now_ms: int) -> Summary:
        """Returns the figures as they are now."""
        now = self._second(now_ms).number
        by_number = {second.number: second for second in self._seconds}
        whole = [by_number.get(number) for number in range(now - SPAN_S, now)]
        latest = [second for second in whole[-RATE_OVER_S:] if second is not None]
        over_s = max(1, min(RATE_OVER_S, now - self._since_ms // 1_000))
        return Summary(
            since_ms=self._since_ms,
            predictions=self.predictions,
            partial=self.partial,
            amended=self.amended,
            skipped=self.skipped,
            unreadable=self.unreadable,
            letters=self._reasons.total(),
            reasons=dict(self._reasons.most_common()),
            rate=sum(second.predictions for second in latest) / over_s,
            letter_rate=sum(second.letters for second in latest) / over_s,
            history=tuple(0 if second is None else second.predictions for second in whole),
            complete=_latencies([second.complete for second in self._seconds]),
            waited=_latencies([second.waited for second in self._seconds]),
            models=tuple(sorted(set().union(*(second.models for second in self._seconds)))[:4]),
        )

    def _second(self, now_ms: int) -> _Second:
        number = now_ms // 1_000
        if not self._seconds or number > self._seconds[-1].number:
            self._seconds.append(_Second(number))
        while self._seconds[0].number < number - SPAN_S:
            self._seconds.popleft()
        return self._seconds[-1]


def bucket(latency_ms: float) -> int:
    """Returns the histogram's bucket of a latency; what is no number or below 1 ms is in the first."""
    if not latency_ms >= 1:
        return 0
    if latency_ms == float("inf"):
        return BUCKETS - 1
    return min(BUCKETS - 1, int(log10(latency_ms) * BUCKETS_PER_DECADE))


def _latencies(seconds: list[Counter[int]]) -> Latencies:
    counts = [0] * BUCKETS
    for second in seconds:
        for number, count in second.items():
            counts[number] += count
    return Latencies(tuple(counts), _percentile(counts, 50), _percentile(counts, 99))


def _percentile(counts: list[int], percent: float) -> float | None:
    """Returns where in its bucket the percentile falls, if the bucket were filled evenly on the logarithmic scale."""
    rank = ceil(sum(counts) * percent / 100)
    if not rank:
        return None
    below = 0
    for number, count in enumerate(counts):
        if below + count >= rank:
            return float(10 ** ((number + (rank - below) / count) / BUCKETS_PER_DECADE))
        below += count
    return None
