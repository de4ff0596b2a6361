"""Windows as tables: predictions in, statistics and what is kept out."""

from dataclasses import dataclass, field

import pytest

from consumers.windowing.windows import PROGRESS, Outcome, Spans, Windows
from pipeline.events.records import Modality, Prediction
from tests.support.predictions import a_prediction

SPANS = Spans(lengths=(10_000, 60_000), keep=120_000, ahead=60_000)
NO_CLOCK = 0
MODALITIES = {"s": Modality.SPEECH, "i": Modality.IMAGE, "p": Modality.SENSOR}


@dataclass
class Counting:
    """Windows over two partitions, and what has been published and kept of them."""

    windows: Windows = field(default_factory=lambda: Windows(SPANS, (0, 1), NO_CLOCK))
    published: dict[tuple[int, int, str], int] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)
    next_offset: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, row: str, now_ms: int = NO_CLOCK) -> Outcome:
        """Takes "partition seconds label modalities [moment [revision]]"."""
        partition, offset = int(row.split(maxsplit=1)[0]), self.next_offset[int(row.split(maxsplit=1)[0])]
        self.next_offset[partition] += 1
        return self.windows.add(parsed(row, offset), partition, offset, broker_ms=2**62, now_ms=now_ms)

    def step(self, now_ms: int = NO_CLOCK) -> dict[str, int]:
        """Publishes and keeps; returns what was published as "seconds+length label modalities" → count."""
        changes = self.windows.changes(now_ms)
        self.kept |= {**changes.parts, PROGRESS: changes.progress}
        for name in changes.forgotten:
            del self.kept[name]
        letters = {modality: letter for letter, modality in MODALITIES.items()}
        return {
            f"{one.window_start_ms // 1000}+{(one.window_end_ms - one.window_start_ms) // 1000} {one.label} "
            + "".join(letters[modality] for modality in one.modalities): one.count
            for one in changes.statistics
        }

    def restarted(self, spans: Spans = SPANS, now_ms: int = NO_CLOCK) -> "Counting":
        """Goes on from what was kept."""
        windows = Windows.restored(spans, (0, 1), now_ms, self.kept)
        return Counting(windows, {}, self.kept, self.next_offset)


def parsed(row: str, offset: int) -> Prediction:
    partition, seconds, label, modalities, *rest = row.split()
    return a_prediction(
        0,
        prediction_id=rest[0] if rest else f"{partition}-{offset}",
        revision=int(rest[1]) if rest[1:] else 0,
        event_time_ms=round(float(seconds) * 1_000),
        label=label,
        modalities=tuple(MODALITIES[letter] for letter in modalities),
    )


TABLE = [
    ("a prediction is in a window of each length", ["0 5 7 sip"], {"0+10 7 sip": 1, "0+60 7 sip": 1}),
    (
        "windows are half open",
        ["0 9.999 7 sip", "0 10 7 sip"],
        {"0+10 7 sip": 1, "10+10 7 sip": 1, "0+60 7 sip": 2},
    ),
    ("partitions add up", ["0 5 7 sip", "1 6 7 sip"], {"0+10 7 sip": 2, "0+60 7 sip": 2}),
    (
        "labels and inputs are counted apart",
        ["0 5 7 sip", "0 5 3 sip", "0 5 7 si"],
        {"0+10 7 sip": 1, "0+60 7 sip": 1, "0+10 3 sip": 1, "0+60 3 sip": 1, "0+10 7 si": 1, "0+60 7 si": 1},
    ),
    (
        "an amendment takes the place of the answer",
        ["0 5 7 si a 0", "0 5 3 sip a 1"],
        {"0+10 7 si": 0, "0+60 7 si": 0, "0+10 3 sip": 1, "0+60 3 sip": 1},
    ),
    (
        "an amendment amended",
        ["0 5 7 s a 0", "0 5 7 si a 1", "0 5 3 sip a 2"],
        {"0+10 7 s": 0, "0+60 7 s": 0, "0+10 7 si": 0, "0+60 7 si": 0, "0+10 3 sip": 1, "0+60 3 sip": 1},
    ),
    ("the same answer again is not counted", ["0 5 7 si a 0", "0 5 7 si a 0"], {"0+10 7 si": 1, "0+60 7 si": 1}),
    ("an older revision is not counted", ["0 5 7 si a 1", "0 5 3 s a 0"], {"0+10 7 si": 1, "0+60 7 si": 1}),
    (
        "out of order is fine",
        ["0 70 7 sip", "0 5 7 sip"],
        {"60+60 7 sip": 1, "70+10 7 sip": 1, "0+10 7 sip": 1, "0+60 7 sip": 1},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "published"), [case[1:] for case in TABLE], ids=[case[0] for case in TABLE])
@pytest.mark.parametrize("restart", [False, True])
def test_what_is_published(rows: list[str], published: dict[str, int], *, restart: bool) -> None:
    counting = Counting()
    for row in rows:
        counting.add(row)
        if restart:
            counting.step()
            counting = counting.restarted()
    said = counting.step()
    assert {name: count for name, count in said.items() if count or not restart} == {
        name: count for name, count in published.items() if count or not restart
    }


def test_model_versions_are_counted_apart() -> None:
    windows = Windows(SPANS, (0, 1), NO_CLOCK)
    for number, version in enumerate(["1.0.0", "1.1.0", "1.1.0"]):
        said = a_prediction(number, event_time_ms=5_000, model_version=version)
        windows.add(said, 0, number, broker_ms=2**62, now_ms=NO_CLOCK)
    changes = windows.changes(NO_CLOCK)
    assert {one.model_version: one.count for one in changes.statistics} == {"1.0.0": 1, "1.1.0": 2}
    restarted = Windows.restored(SPANS, (0, 1), NO_CLOCK, {**changes.parts, PROGRESS: changes.progress})
    restarted.changes(NO_CLOCK)
    assert [(one.model_version, one.count) for one in restarted.shown()] == [("1.0.0", 1), ("1.1.0", 2)] * 2


def test_only_what_has_changed_is_published_again() -> None:
    counting = Counting()
    counting.add("0 5 7 sip")
    counting.add("0 15 7 sip")
    counting.step()
    assert counting.step() == {}
    counting.add("0 16 7 sip")
    assert counting.step() == {"10+10 7 sip": 2, "0+60 7 sip": 3}


def test_mean_and_quantiles_are_those_of_all_partitions() -> None:
    windows = Windows(SPANS, (0, 1), NO_CLOCK)
    for number in range(1_000):
        said = a_prediction(number, event_time_ms=0, confidence=number / 1_000, latency_ms=float(number + 1))
        windows.add(said, number % 2, number // 2, 0, NO_CLOCK)
    short, _ = windows.changes(NO_CLOCK).statistics
    assert short.count == 1_000
    assert short.mean_confidence == pytest.approx(0.4995)
    assert short.latency_p50_ms == pytest.approx(500, rel=0.011)
    assert short.latency_p99_ms == pytest.approx(990, rel=0.011)


def test_a_window_is_over_when_the_slowest_partition_is_past_it() -> None:
    counting = Counting()
    counting.add("0 5 7 sip")
    counting.add("0 1000 7 sip")
    counting.step()
    assert counting.add("1 6 7 sip") is Outcome.COUNTED, "partition 1 is behind, and waited for"
    assert counting.step() == {"0+10 7 sip": 2, "0+60 7 sip": 2}
    counting.add("1 1000 7 sip")
    counting.step()
    assert counting.add("1 839 7 sip") is Outcome.LATE, "1000 s - 120 s, in steps of a minute: 840 s"
    assert counting.add("1 840 7 sip") is Outcome.COUNTED
    assert {name for name in counting.kept if "/" in name} == {"part/10000/1000000/0", "part/10000/1000000/1"}


def test_a_silent_partition_is_waited_for_only_as_long_as_windows_are_kept() -> None:
    counting = Counting()
    counting.add("0 5 7 sip")
    counting.add("0 1000 7 sip", now_ms=119_999)
    counting.step(now_ms=119_999)
    assert counting.add("0 6 7 sip", now_ms=119_999) is Outcome.COUNTED
    counting.step(now_ms=120_000)
    assert counting.add("0 6 7 sip", now_ms=120_000) is Outcome.LATE
    assert counting.add("1 6 7 sip", now_ms=120_000) is Outcome.LATE, "a smaller count must not replace the published"


def test_what_is_over_stays_over_after_a_restart() -> None:
    counting = Counting()
    counting.add("0 5 7 sip")
    counting.add("0 1000 7 sip")
    counting.add("1 1000 7 sip")
    counting.step()
    counting = counting.restarted()
    assert counting.add("1 6 7 sip") is Outcome.LATE
    assert counting.add("1 1001 7 sip") is Outcome.COUNTED
    assert counting.step() == {"1000+10 7 sip": 3, "960+60 7 sip": 3}


def test_a_record_read_again_is_known_also_when_its_window_is_over() -> None:
    counting = Counting()
    for row in ("0 5 7 sip", "0 1000 7 sip", "1 1000 7 sip"):
        counting.add(row)
    counting.step()
    counting = counting.restarted()
    counting.next_offset[0] = 0
    assert counting.add("0 5 7 sip") is Outcome.KNOWN


def test_an_event_time_ahead_of_the_brokers_clock_moves_nothing() -> None:
    windows = Windows(SPANS, (0,), NO_CLOCK)
    said = a_prediction(1, event_time_ms=1_060_001)
    assert windows.add(said, 0, 0, 1_000_000, NO_CLOCK) is Outcome.AHEAD
    assert windows.add(a_prediction(2, event_time_ms=5_000), 0, 1, 1_000_000, NO_CLOCK) is Outcome.COUNTED


def test_times_before_1970_are_late() -> None:
    assert (
        Windows(SPANS, (0,), NO_CLOCK).add(a_prediction(1, event_time_ms=-(2**63)), 0, 0, 0, NO_CLOCK) is Outcome.LATE
    )


def test_windows_of_another_length_end_and_are_not_published_smaller() -> None:
    counting = Counting()
    counting.add("0 65 7 sip")
    counting.step()
    counting = counting.restarted(Spans(lengths=(5_000, 60_000), keep=120_000, ahead=60_000))
    assert counting.add("0 119 7 sip") is Outcome.LATE
    assert counting.add("0 120 7 sip") is Outcome.COUNTED
    assert counting.step() == {"120+5 7 sip": 1, "120+60 7 sip": 1}
    assert {name for name in counting.kept if "/" in name} == {"part/5000/120000/0"}


def test_the_view_shows_the_windows_that_are_not_over_newest_first() -> None:
    counting = Counting()
    for row in ("0 5 7 sip", "0 900 7 sip", "0 1000 3 sip", "0 1000 1 sip", "1 1000 7 sip"):
        counting.add(row)
    counting.step()
    shown = [(one.window_start_ms // 1000, one.label, one.count) for one in counting.windows.shown()]
    assert shown == [
        (1000, "1", 1), (1000, "3", 1), (1000, "7", 1),
        (960, "1", 1), (960, "3", 1), (960, "7", 1),
        (900, "7", 1), (900, "7", 1),
    ]  # fmt: skip
