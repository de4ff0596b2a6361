"""What became of every source record, table by table."""

from dataclasses import asdict

import pytest

from pipeline.events.records import DeadLetter, Modality, Prediction, Reason, SourceOffset
from pipeline.join.audit import Account, Audit, Progress, Verdict
from pipeline.join.tracker import Position

TOPIC, PARTITION = "speech", 0
PLACE = (TOPIC, PARTITION)


def sources(*offsets: int, topic: str = TOPIC, partition: int = PARTITION) -> tuple[SourceOffset, ...]:
    return tuple(SourceOffset(topic, partition, offset) for offset in offsets)


def prediction(*named: SourceOffset, key: str = "a", revision: int = 0) -> Prediction:
    return Prediction(key, key, 0, 0, revision, "3", 1.0, {"3": 1.0}, (Modality.SPEECH,), "digits", "1", named, 0.0)


def dead_letter(*named: SourceOffset) -> DeadLetter:
    return DeadLetter(Reason.LATE, "", b"a", b"", named, 0)


# A line of the tables below: what comes out. p = prediction with key and sources, p1 = its revision 1, d = dead letter.
def entered(audit: Audit, line: str) -> None:
    kind, *rest = line.split()
    if kind == "d":
        audit.dead_lettered(dead_letter(*sources(*map(int, rest))))
    else:
        revision = int(kind[1:] or 0)
        audit.predicted(prediction(*sources(*map(int, rest[1:])), key=rest[0], revision=revision))


def audited(
    seen: list[int], lines: list[str], progress: Progress | None = None, span: range = range(10), limit: int = 20
) -> Verdict:
    audit = Audit({PLACE: span}, outside=["predictions"])
    for offset in seen:
        audit.saw(TOPIC, PARTITION, offset)
    for line in lines:
        entered(audit, line)
    return audit.verdict({PLACE: progress} if progress else {}, limit)


def figures(verdict: Verdict) -> dict[str, int]:
    return {name: figure for name, figure in asdict(verdict.topics[TOPIC]).items() if figure and name != "records"}


DONE = Progress(Position.at(10))
CASES = [
    # what,                                      records,  outputs,                     became
    ("nothing is there", [], [], {}),
    ("each in one output", [0, 1], ["p a 0", "d 1"], {"predicted": 1, "dead_lettered": 1}),
    ("markers between records need no output", [0, 4], ["p a 0", "p b 4"], {"predicted": 2}),
    ("finished and nowhere is lost", [0, 1], ["p a 0"], {"predicted": 1, "lost": 1}),
    ("in two predictions is doubled", [0], ["p a 0", "p b 0"], {"doubled": 1}),
    ("the same prediction twice is doubled", [0], ["p a 0", "p a 0"], {"doubled": 1}),
    ("predicted and dead-lettered is doubled", [0], ["p a 0", "d 0"], {"doubled": 1}),
    ("dead-lettered and predicted is doubled", [0], ["d 0", "p a 0"], {"doubled": 1}),
    ("in two dead letters is doubled", [0], ["d 0", "d 0"], {"doubled": 1}),
    ("three times is doubled once", [0], ["d 0", "p a 0", "p b 0"], {"doubled": 1}),
    ("an amendment repeats by right", [0, 1], ["p a 0", "p1 a 0 1"], {"predicted": 2}),
    ("an amendment may come first", [0, 1], ["p1 a 0 1", "p a 0"], {"predicted": 2}),
    ("twice amended doubles what is added", [0, 1], ["p a 0", "p1 a 0 1", "p1 a 0 1"], {"predicted": 1, "doubled": 1}),
    ("twice above what came later is by right", [0], ["p1 a 0", "p1 a 0", "p a 0"], {"predicted": 1}),
    ("another's amendment doubles", [0], ["p a 0", "p1 b 0"], {"doubled": 1}),
    ("late, then used by an amendment", [0, 1], ["p a 0", "d 1", "p1 a 0 1"], {"predicted": 1, "doubled": 1}),
    ("doubled before an amendment stays so", [0], ["p a 0", "p a 0", "p1 a 0"], {"doubled": 1}),
    ("a marker's offset is unknown", [0], ["p a 0 1"], {"predicted": 1, "unknown": 1}),
    ("an offset beyond the end is unknown", [0], ["p a 0", f"p b {2**60}"], {"predicted": 1, "unknown": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("what", "seen", "lines", "became"), CASES, ids=[case[0] for case in CASES])
def test_every_record_is_sorted(what: str, seen: list[int], lines: list[str], became: dict[str, int]) -> None:
    verdict = audited(seen, lines, DONE)
    assert figures(verdict) == became
    assert verdict.total.records == len(seen)
    assert verdict.balances == (not became.keys() & {"lost", "doubled", "unknown"})


POSITIONS = [
    # what,                               position,                              lost,          open
    ("no group: all is open", None, [], [0, 1, 2, 3]),
    ("below the low mark is finished", Position.at(2), [0, 1], [2, 3]),
    ("the map says what is unfinished", Position(1, 4, (1, 2), 1), [0, 3], [1, 2]),
    ("above the high mark is unfinished", Position(0, 2, (0,), 0), [1], [0, 2, 3]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "position", "lost", "still_open"), POSITIONS, ids=[case[0] for case in POSITIONS])
def test_positions_tell_lost_from_open(
    what: str, position: Position | None, lost: list[int], still_open: list[int]
) -> None:
    listed = audited([0, 1, 2, 3], [], Progress(position)).listed
    assert listed.lost == sources(*lost)
    assert listed.open == sources(*still_open)


def test_an_output_accounts_for_a_record_that_is_not_yet_committed() -> None:
    assert figures(audited([0], ["p a 0"], Progress(Position.at(0)))) == {"predicted": 1}


def test_what_retention_deleted_is_expired() -> None:
    verdict = audited([7], ["p a 2", "p b 5", "p c 7"], Progress(Position.at(10), kept_from=6), range(4, 10))
    assert figures(verdict) == {"predicted": 1, "expired": 2}
    assert verdict.balances


def test_what_has_lost_its_output_to_retention_is_unproven() -> None:
    verdict = audited([0, 1, 2, 3], ["p a 1"], Progress(Position(2, 4, (2,), 0), proven_from=3))
    assert figures(verdict) == {"predicted": 1, "unproven": 1, "open": 1, "lost": 1}
    assert verdict.listed.lost == sources(3)


def test_dead_letters_of_predictions_are_another_ledger() -> None:
    audit = Audit({PLACE: range(1)}, outside=["predictions"])
    audit.dead_lettered(dead_letter(*sources(5, topic="predictions")))
    assert audit.verdict({}).topics == {TOPIC: Account()}


def test_topics_and_partitions_that_are_no_sources_are_unknown() -> None:
    audit = Audit({PLACE: range(1)})
    named = sources(0, topic="speeches") + sources(0, partition=9)
    audit.predicted(prediction(*named))
    verdict = audit.verdict({})
    assert verdict.topics == {TOPIC: Account(unknown=1), "speeches": Account(unknown=1)}
    assert set(verdict.listed.unknown) == set(named)
    assert not verdict.balances


def test_the_first_of_each_kind_are_listed() -> None:
    audit = Audit({("image", 1): range(3), ("image", 0): range(3), PLACE: range(3)})
    for topic, partition in [("image", 1), ("image", 0), PLACE]:
        for offset in range(3):
            audit.saw(topic, partition, offset)
    expected = sources(0, 1, 2, topic="image") + sources(0, topic="image", partition=1)
    assert audit.verdict({}, limit=4).listed.open == expected
    assert audit.verdict({}, limit=0).listed.open == ()
    assert audit.verdict({}).total == Account(records=9, open=9)


def test_an_offset_outside_the_range_is_not_a_record_to_account_for() -> None:
    assert audited([3, 10, 11], [], None, range(4, 10)).total == Account()
