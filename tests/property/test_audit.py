"""The audit's few bytes an offset say what a plain count of all outputs says, in whatever order they come."""

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from pipeline.events.records import DeadLetter, Prediction, Reason, SourceOffset
from pipeline.join.audit import Account, Audit, Progress
from pipeline.join.tracker import Position

FIRST, END, BEYOND = 3, 13, 16
PLACES = [("speech", 0), ("speech", 1), ("image", 0)]


@dataclass(frozen=True)
class Output:
    """`prediction` is (id, revision), None for a dead letter."""

    prediction: tuple[str, int] | None
    sources: frozenset[SourceOffset]


@st.composite
def positions(draw: st.DrawFn) -> Position | None:
    high = draw(st.integers(0, END))
    unfinished = sorted(draw(st.sets(st.integers(0, high - 1)))) if high else []
    low = unfinished[0] if unfinished else high
    return draw(st.sampled_from([None, Position(low, high, tuple(unfinished), low)]))


SOURCES = st.sampled_from([SourceOffset(topic, n, offset) for topic, n in PLACES for offset in range(BEYOND + 1)])
OUTPUTS = st.builds(
    Output,
    st.none() | st.tuples(st.sampled_from("abc"), st.integers(0, 2)),
    st.frozensets(SOURCES, min_size=1, max_size=3),
)
SEEN = st.sets(st.tuples(st.sampled_from(PLACES), st.integers(FIRST, END - 1)))
PROGRESS = st.fixed_dictionaries(
    {place: st.builds(Progress, positions(), st.integers(FIRST, END), st.integers(0, END)) for place in PLACES}
)


def audited(seen: set[tuple[tuple[str, int], int]], outputs: list[Output], order: list[int]) -> Audit:
    """Enters records and outputs in a given order."""
    audit = Audit(dict.fromkeys(PLACES, range(FIRST, END)))
    steps: list[Output | tuple[tuple[str, int], int]] = [*outputs, *seen]
    for index in order:
        match steps[index]:
            case Output(None, sources):
                audit.dead_lettered(DeadLetter(Reason.LATE, "", None, None, tuple(sources), 0))
            case Output((name, revision), sources):
                audit.predicted(Prediction(name, "", 0, 0, revision, "", 1, {}, (), "", "", tuple(sources), 0))
            case ((topic, partition), offset):
                audit.saw(topic, partition, offset)
    return audit


def times_counted(source: SourceOffset, outputs: list[Output]) -> tuple[int, int]:
    """Returns in how many predictions and dead letters a source counts; of each id only the lowest revision does."""
    named = [output.prediction for output in outputs if source in output.sources]
    revisions = Counter(entry for entry in named if entry is not None)
    lowest = {name: min(r for other, r in revisions if other == name) for name, _ in revisions}
    return sum(revisions[entry] for entry in lowest.items()), named.count(None)


def became(source: SourceOffset, outputs: list[Output], *, seen: bool, progress: Progress) -> Account:
    predicted, dead = times_counted(source, outputs)
    if not seen:
        references = sum(source in output.sources for output in outputs)
        times = min(1, references) if FIRST <= source.offset < END else references
        return Account(expired=times) if source.offset < progress.kept_from else Account(unknown=times)
    if predicted + dead > 1:
        return Account(records=1, doubled=1)
    if predicted or dead:
        return Account(records=1, predicted=predicted, dead_lettered=dead)
    position = progress.position
    if position is None or source.offset >= position.high or source.offset in position.unfinished:
        return Account(records=1, open=1)
    if source.offset < progress.proven_from:
        return Account(records=1, unproven=1)
    return Account(records=1, lost=1)


@given(SEEN, st.lists(OUTPUTS, max_size=12), PROGRESS, st.data())
def test_it_says_what_a_plain_count_says_in_any_order(
    seen: set[tuple[tuple[str, int], int]],
    outputs: list[Output],
    progress: dict[tuple[str, int], Progress],
    data: st.DataObject,
) -> None:
    order = data.draw(st.permutations(range(len(outputs) + len(seen))))
    verdict = audited(seen, outputs, order).verdict(progress, limit=1_000)
    expected = dict.fromkeys({topic for topic, _ in PLACES}, Account())
    listed: dict[str, set[SourceOffset]] = {"lost": set(), "doubled": set(), "unknown": set(), "open": set()}
    for topic, partition in PLACES:
        for offset in range(BEYOND + 1):
            source = SourceOffset(topic, partition, offset)
            is_seen = ((topic, partition), offset) in seen
            account = became(source, outputs, seen=is_seen, progress=progress[topic, partition])
            expected[topic] += account
            for kind, sources in listed.items():
                if getattr(account, kind):
                    sources.add(source)
    assert verdict.topics == expected
    assert {kind: set(getattr(verdict.listed, kind)) for kind in listed} == listed


@given(SEEN, st.lists(OUTPUTS, max_size=12), PROGRESS)
def test_the_figures_add_up(
    seen: set[tuple[tuple[str, int], int]], outputs: list[Output], progress: dict[tuple[str, int], Progress]
) -> None:
    total = audited(seen, outputs, list(range(len(outputs) + len(seen)))).verdict(progress).total
    assert total.records == len(seen)
    sorted_out = total.predicted + total.dead_lettered + total.open + total.lost + total.doubled + total.unproven
    assert sorted_out == total.records
