import math

import pytest

from consumers.board.figures import BUCKETS, SPAN_S, Figures, bucket
from pipeline.events.records import DeadLetter, Modality, Reason
from tests.support.predictions import a_prediction

T0_MS = 1_767_268_800_000
ALL = tuple(Modality)


def letter(reason: Reason) -> DeadLetter:
    return DeadLetter(reason, "", None, None, (), 0)


def at(second: float) -> int:
    return T0_MS + round(second * 1_000)


def test_rates_are_of_the_last_whole_seconds() -> None:
    figures = Figures(T0_MS)
    for number in range(40):
        figures.prediction(a_prediction(number), at(number / 4))
    assert figures.summary(at(10)).rate == 4
    assert figures.summary(at(12.5)).rate == pytest.approx(4 * 3 / 5)
    assert figures.summary(at(30)).rate == 0


def test_a_rate_at_the_beginning_is_of_the_time_there_was() -> None:
    figures = Figures(T0_MS)
    for number in range(20):
        figures.prediction(a_prediction(number), at(number / 10))
    assert figures.summary(at(2)).rate == 10


def test_history_and_latencies_forget_and_totals_do_not() -> None:
    figures = Figures(T0_MS)
    figures.prediction(a_prediction(1, modalities=ALL), at(0))
    figures.letter(letter(Reason.LATE), at(0))
    before, after = figures.summary(at(SPAN_S - 1)), figures.summary(at(SPAN_S + 2))
    assert (sum(before.history), sum(before.complete.counts)) == (1, 1)
    assert (sum(after.history), sum(after.complete.counts)) == (0, 0)
    assert (after.predictions, after.letters, after.reasons) == (1, 1, {"LATE": 1})
    assert len(after.history) == SPAN_S


def test_memory_does_not_grow_with_time() -> None:
    figures = Figures(T0_MS)
    for second in range(1_000):
        figures.prediction(a_prediction(second), at(second))
    assert len(figures._seconds) <= SPAN_S + 1


def test_partial_and_amended_ones_are_counted_apart() -> None:
    figures = Figures(T0_MS)
    figures.prediction(a_prediction(1, modalities=ALL, latency_ms=20.0), at(0))
    figures.prediction(a_prediction(2, modalities=ALL[:2], latency_ms=5_000.0), at(0))
    figures.prediction(a_prediction(2, modalities=ALL, revision=1, latency_ms=7_000.0), at(0))
    told = figures.summary(at(1))
    assert (told.predictions, told.partial, told.amended) == (3, 1, 1)
    assert told.complete.p50_ms == pytest.approx(20, rel=0.26)
    assert (sum(told.complete.counts), sum(told.waited.counts)) == (1, 2)


def test_percentiles_are_right_to_a_bucket() -> None:
    figures = Figures(T0_MS)
    for number in range(1_000):
        figures.prediction(a_prediction(number, modalities=ALL, latency_ms=10 + number / 10), at(0))
    told = figures.summary(at(1)).complete
    assert told.p50_ms == pytest.approx(60, rel=0.1)
    assert told.p99_ms == pytest.approx(109, rel=0.26)


LAST = BUCKETS - 1
LATENCIES = [(-5.0, 0), (0.0, 0), (math.nan, 0), (1.0, 0), (10.0, 10), (99.9, 19), (1e9, LAST), (math.inf, LAST)]


@pytest.mark.parametrize(("latency_ms", "expected"), LATENCIES)
def test_every_latency_has_a_bucket(latency_ms: float, expected: int) -> None:
    assert bucket(latency_ms) == expected


def test_a_clock_that_goes_back_does_no_harm() -> None:
    figures = Figures(T0_MS)
    figures.prediction(a_prediction(1), at(5))
    figures.prediction(a_prediction(2), at(3))
    assert figures.summary(at(6)).predictions == 2
