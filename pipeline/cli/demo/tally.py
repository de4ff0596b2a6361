"""What a run of the demo came to. Pure: predictions and dead letters in, figures out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.events.records import DeadLetter, Prediction, SourceOffset

COMPLETE = 3


@dataclass
class Tally:
    """The outputs of one run, told from earlier ones by where its records begin.

    Attributes:
        truth: key → true label, of every key that was published.
        begins: (topic, partition) → first source offset of this run.
    """

    truth: dict[str, str] = field(default_factory=dict)
    begins: dict[tuple[str, int], int] = field(default_factory=dict)
    accounted: int = 0
    right: Counter[int] = field(default_factory=Counter)
    answered: Counter[int] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    latencies_ms: dict[int, list[float]] = field(default_factory=lambda: {1: [], 2: [], 3: []})
    first_ms: int | None = None
    last_ms: int | None = None

    def prediction(self, prediction: Prediction, arrived_ms: int) -> None:
        """A committed prediction was read at `arrived_ms`, milliseconds since the epoch."""
        if not self._is_ours(prediction.sources):
            return
        inputs = len(prediction.modalities)
        self.answered[inputs] += 1
        self.right[inputs] += self.truth.get(prediction.key) == prediction.label
        since_predicted_ms = arrived_ms - prediction.predicted_at_ms
        self.latencies_ms[inputs].append(prediction.latency_ms + since_predicted_ms)
        self.first_ms = arrived_ms if self.first_ms is None else self.first_ms
        self.last_ms = arrived_ms

    def dead_letter(self, letter: DeadLetter) -> None:
        """A committed dead letter was read."""
        if self._is_ours(letter.sources):
            self.reasons[letter.reason.value] += 1

    @property
    def predictions(self) -> int:
        """Predictions of this run."""
        return self.answered.total()

    def accuracy(self, *inputs: int) -> float | None:
        """Returns the share of right answers among predictions from so many inputs, 0 to 1; None without any."""
        answered = sum(self.answered[n] for n in inputs)
        return sum(self.right[n] for n in inputs) / answered if answered else None

    def latency_ms(self, percentile: float, inputs: int = COMPLETE) -> float | None:
        """Returns how long after its newest event was appended a prediction could be read, committed."""
        latencies = self.latencies_ms[inputs]
        return float(np.percentile(latencies, percentile)) if latencies else None

    def _is_ours(self, sources: Sequence[SourceOffset]) -> bool:
        ours = [s for s in sources if s.offset >= self.begins.get((s.topic, s.partition), 1 << 62)]
        self.accounted += len(ours)
        return bool(ours)
