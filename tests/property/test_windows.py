"""Whatever comes in whatever order over the partitions, and wherever the program is killed, the counts are the same."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.windowing.tally import Group, Tally
from consumers.windowing.windows import PROGRESS, Changes, Spans, Windows
from pipeline.events.records import Modality, Prediction, Statistic
from tests.support.predictions import a_prediction

SPANS = Spans(lengths=(10_000, 60_000), keep=600_000, ahead=0)
PARTITIONS = (0, 1)
INPUTS = ((Modality.SPEECH,), (Modality.SPEECH, Modality.IMAGE), tuple(Modality))

Key = tuple[int, int, str, tuple[Modality, ...]]


@st.composite
def moments(draw: st.DrawFn) -> list[Prediction]:
    """A partition's predictions: answers at first, some amended later."""
    predictions: list[Prediction] = []
    for number in range(draw(st.integers(0, 12))):
        time_ms = draw(st.integers(0, 200_000))
        first = draw(st.integers(0, 2))
        place = 0
        for revision, inputs in enumerate(INPUTS[first : draw(st.integers(first, 2)) + 1]):
            said = a_prediction(
                number,
                revision=revision,
                event_time_ms=time_ms,
                modalities=inputs,
                label=draw(st.sampled_from("37")),
                latency_ms=float(draw(st.integers(-5, 5_000))),
            )
            place = draw(st.integers(place + 1 if revision else 0, max(place + 1, len(predictions))))
            place = min(place, len(predictions))
            predictions.insert(place, said)
    return predictions


def key(statistic: Statistic) -> Key:
    return statistic.window_start_ms, statistic.window_end_ms, statistic.label, statistic.modalities


def expected(partitions: Sequence[Sequence[Prediction]]) -> Counter[Key]:
    """Counts every moment once, by its newest revision, from the definition."""
    newest: dict[tuple[int, str], Prediction] = {}
    for number, predictions in enumerate(partitions):
        for said in predictions:
            moment = number, said.prediction_id
            if moment not in newest or said.revision > newest[moment].revision:
                newest[moment] = said
    return Counter(
        (start, start + length, said.label, said.modalities)
        for said in newest.values()
        for length in SPANS.lengths
        for start in [said.event_time_ms // length * length]
    )


def keep(kept: dict[str, bytes], changes: Changes, survives: int) -> bool:
    """Keeps entry by entry until the crash; returns whether there was none."""
    entries: list[tuple[str, bytes | None]] = [*changes.parts.items(), (PROGRESS, changes.progress)]
    entries += [(name, None) for name in changes.forgotten]
    for name, content in entries[:survives]:
        if content is None:
            kept.pop(name)
        else:
            kept[name] = content
    return survives >= len(entries)


@given(
    partitions=st.tuples(moments(), moments()),
    order=st.lists(st.sampled_from([0, 1]), max_size=60),
    steps=st.lists(st.tuples(st.integers(1, 8), st.one_of(st.just(10**6), st.integers(0, 5))), max_size=12),
    commits_behind=st.integers(0, 3),
)
def test_every_moment_is_counted_once_by_its_newest_revision(
    partitions: tuple[list[Prediction], list[Prediction]],
    order: list[int],
    steps: list[tuple[int, int]],
    commits_behind: int,
) -> None:
    kept: dict[str, bytes] = {}
    published: dict[Key, Statistic] = {}
    windows = Windows(SPANS, PARTITIONS, 0)
    offsets = [0, 0]
    turns = iter([*order, *[0] * 100, *[1] * 100])
    for records, survives in [*steps, (10**3, 10**6)]:
        for _ in range(records):
            partition = next(turns, None)
            if partition is not None and offsets[partition] < len(partitions[partition]):
                said = partitions[partition][offsets[partition]]
                windows.add(said, partition, offsets[partition], 10**9, 0)
                offsets[partition] += 1
        changes = windows.changes(0)
        published |= {key(statistic): statistic for statistic in changes.statistics}
        if not keep(kept, changes, survives):
            windows = Windows.restored(SPANS, PARTITIONS, 0, kept)
            offsets = [max(0, windows.next_offsets.get(number, 0) - commits_behind) for number in PARTITIONS]
            turns = iter([*order, *[0] * 100, *[1] * 100])
    assert {name: one.count for name, one in published.items() if one.count} == expected(partitions)


@given(st.lists(st.lists(st.floats(-1e4, 1e6), max_size=20), max_size=6), st.randoms())
def test_tallies_merge_in_any_order_and_survive_being_kept(parts: list[list[float]], random: Random) -> None:
    group = Group("7", "1", ())
    whole = Tally()
    tallies = []
    for part in parts:
        tally = Tally()
        for latency_ms in part:
            tally.add(0.5, latency_ms)
            whole.add(0.5, latency_ms)
        tallies.append(Tally.from_fields(tally.to_fields()))
    random.shuffle(tallies)
    merged = Tally()
    for tally in tallies:
        merged.merge(tally)
    assert merged.statistic(0, 1, group) == whole.statistic(0, 1, group)
    latencies = sorted(latency_ms for part in parts for latency_ms in part)
    if latencies:
        exact = latencies[int(0.99 * (len(latencies) - 1))]
        assert merged.statistic(0, 1, group).latency_p99_ms == pytest.approx(exact, rel=0.0101, abs=1e-6)
