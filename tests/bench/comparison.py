"""Runs several loops in turn over the same backlog, and checks what each has answered."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.bench.backlog import Backlog, Work, fill
from tests.bench.broker import own_topics
from tests.bench.programs import Measured, Program, measure, python
from tests.bench.verification import Answer, Predictions, Verdict, decimal, predicted_label

LIMIT_S = 180.0


@dataclass(frozen=True, slots=True)
class Contender:
    """A loop in a comparison.

    Attributes:
        program: how it is started.
        guarantee: what its output is worth when it crashes, in a few words.
        share: of the work's triples that it is given, less than 1 if it is too slow for all.
        decodes: whether it decodes the events, and answers as predictions of ours do.
    """

    program: Program
    guarantee: str
    share: float = 1.0
    decodes: bool = False


@dataclass(slots=True)
class Result:
    """What a contender has done.

    Attributes:
        contender: who.
        triples: how many it was given.
        runs: what was measured, run by run.
        verdicts: what became of the keys, run by run.
        failure: why there are no more runs.
    """

    contender: Contender
    triples: int
    runs: list[Measured] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    failure: str | None = None

    @property
    def rates(self) -> list[float]:
        """Triples a second, run by run."""
        return [self.triples / run.seconds for run in self.runs]

    def record(self) -> dict[str, object]:
        """Returns it for the results."""
        return {
            "guarantee": self.contender.guarantee,
            "triples": self.triples,
            "triples_per_s": [round(rate) for rate in self.rates],
            "cpu_s_per_1000": [round(run.cpu_s / self.triples * 1_000, 4) for run in self.runs],
            "peak_rss_mb": [run.peak_mb for run in self.runs],
            "verdicts": [verdict.figures() for verdict in self.verdicts],
            "failure": self.failure,
        }


def bare_loop() -> Contender:
    """Returns the yardstick."""
    return Contender(python("tests.bench.bare_loop", "bare loop"), "exactly once, no deadlines, no dead letters")


def trimodal() -> Contender:
    """Returns the fusion consumer with the stub for a model."""
    return Contender(python("tests.bench.pipeline_loop", "trimodal"), "exactly once, audited", decodes=True)


def run_in_turn(servers: str, work: Work, contenders: Sequence[Contender], runs: int) -> Iterator[Result]:
    """Measures each contender `runs` times, in turn, so that what disturbs the machine disturbs all.

    Yields:
        One result a contender, when all are done.
    """
    backlogs: dict[int, Backlog] = {}
    results = [Result(contender, work.scaled(contender.share).triples) for contender in contenders]
    for result in results:
        if result.triples not in backlogs:
            share = work.scaled(result.contender.share)
            backlogs[result.triples] = fill(own_topics(servers, f"{work.name}-{share.triples}"), share)
    for _ in range(runs):
        for result in results:
            if result.failure is None:
                _run(result, backlogs[result.triples])
    yield from results


def _run(result: Result, backlog: Backlog) -> None:
    settings = backlog.settings
    contender = result.contender
    predictions = Predictions(settings.kafka.bootstrap_servers, settings.topics.predictions, settings.topics.partitions)
    try:
        measured = measure(contender.program, settings, result.triples, LIMIT_S)
    except RuntimeError as error:
        result.failure = str(error)
        return
    answer: Answer = predicted_label() if contender.decodes else decimal
    expected = backlog.of_media % 10 if contender.decodes else backlog.of_values
    result.runs.append(measured)
    result.verdicts.append(predictions.check(expected, answer))


def ratios(one: Result, other: Result) -> list[float]:
    """Returns how many times as fast the one was as the other, run by run."""
    return [ours / theirs for ours, theirs in zip(one.rates, other.rates, strict=True)]


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """Returns the median and, of several, the range."""
    middle = format(statistics.median(values), form)
    return middle if len(values) == 1 else f"{middle} ({min(values):{form}} to {max(values):{form}})"


def standard_error(values: Sequence[float]) -> float:
    """Returns that of the mean."""
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
