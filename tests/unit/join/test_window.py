"""The join as tables: input rows and expected rows."""

import sys
from collections.abc import Iterable
from dataclasses import replace

import pytest

from pipeline.events.records import Modality
from pipeline.join.outcomes import Amended, Duplicate, Incomplete, Joined, JoinRules, Late, Outcome, Partial, Record
from pipeline.join.window import WindowJoin

RULES = JoinRules(window_ms=10_000, out_of_order_ms=2_000, idle_ms=1_000, min_modalities=2)
LETTERS = {"s": Modality.SPEECH, "i": Modality.IMAGE, "p": Modality.SENSOR}


def record(row: str, offset: int) -> Record:
    letter, key, time_ms = row.split()
    return Record(LETTERS[letter], offset, key.encode(), int(time_ms))


def shown(outcome: Outcome) -> str:
    letters = {modality: letter for letter, modality in LETTERS.items()}
    match outcome:
        case Joined(key, records) | Partial(key, records, _) | Incomplete(key, records) | Amended(key, records, _, _):
            inputs = "".join(letters[r.modality] for r in records)
            return f"{type(outcome).__name__.lower()} {key.decode()} {inputs}"
        case Late(late, _) | Duplicate(late):
            return f"{type(outcome).__name__.lower()} {late.key.decode()} {letters[late.modality]}"


def played(join: WindowJoin, rows: list[str], first_offset: int = 0) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for offset, row in enumerate(rows, first_offset):
        if row.startswith("w "):
            outcomes += join.advance(int(row[2:]))
        else:
            outcomes += add(join, record(row, offset))
    return outcomes


def add(join: WindowJoin, one: Record) -> list[Outcome]:
    return join.add(one.modality, [one])


def begun(rules: JoinRules) -> WindowJoin:
    """Returns a join that has nothing to read again."""
    join = WindowJoin(rules)
    assert join.end_replay() == []
    return join


CASES = [
    # what, rows (modality, key, event time; or "w time" for a watermark), outcomes
    ("three of a key join", ["s a 0", "i a 5", "p a 9"], ["joined a sip"]),
    ("in any order", ["p a 0", "s a 5", "i a 9"], ["joined a sip"]),
    ("keys do not mix", ["s a 0", "i b 5", "p a 9"], []),
    ("two are partial in time", ["s a 0", "p a 5", "w 10001"], ["partial a sp"]),
    ("not before the deadline has passed", ["s a 0", "p a 5", "w 10000"], []),
    ("one alone is incomplete", ["i a 0", "w 10001"], ["incomplete a i"]),
    ("a second input is a duplicate", ["s a 0", "s a 7"], ["duplicate a s"]),
    ("a duplicate after the join", ["s a 0", "i a 5", "p a 9", "p a 9"], ["joined a sip", "duplicate a p"]),
    ("an input after its window closed", ["s a 0", "i a 5", "w 10001", "p a 9"], ["partial a si", "late a p"]),
    ("an input whose time had passed", ["w 20001", "s a 10000"], ["late a s"]),
    ("a key used again is a new moment", ["s a 0", "s a 10001", "i a 10001", "p a 10001"], ["joined a sip"]),
    ("and the old one still waits", ["s a 0", "s a 10001", "i a 0", "p a 0"], ["joined a sip"]),
    ("within the window it is the same", ["s a 0", "i a 10000", "p a 10000"], ["joined a sip"]),
    ("late by memory", ["s a 0", "i a 1", "w 10001", "p a 9000", "w 30001"], ["partial a si", "late a p"]),
    ("closed keys are forgotten", ["s a 0", "i a 1", "p a 1", "w 20001", "s a 20002"], ["joined a sip"]),
    ("deadlines come in order", ["s b 1", "s a 0", "w 10002"], ["incomplete a s", "incomplete b s"]),
]


@pytest.mark.parametrize(("rows", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_rows(rows: list[str], expected: list[str]) -> None:
    assert [shown(outcome) for outcome in played(WindowJoin(RULES), rows)] == expected


REMEMBERED = [
    # what, rows finished before the restart, rows that come after it, outcomes
    ("a duplicate of a finished record", ["s a 0", "i a 1", "p a 2"], ["p a 2"], ["duplicate a p"]),
    ("a late input of a finished key", ["s a 0", "i a 1"], ["p a 2"], ["late a p"]),
    ("a finished duplicate leaves the window open", ["s a 0 open", "s a 1"], ["i a 1", "p a 2"], ["joined a sip"]),
    ("a key used again", ["s a 0", "i a 1"], ["s a 10001", "i a 10001", "p a 10001"], ["joined a sip"]),
]


@pytest.mark.parametrize(
    ("before", "after", "expected"), [case[1:] for case in REMEMBERED], ids=[case[0] for case in REMEMBERED]
)
def test_memory_of_finished_records(before: list[str], after: list[str], expected: list[str]) -> None:
    join = WindowJoin(RULES)
    for offset, row in enumerate(before):
        if row.endswith(" open"):
            assert add(join, record(row.removesuffix(" open"), offset)) == []
        else:
            join.remember(record(row, offset))
    outcomes = played(join, after, first_offset=100)
    assert [shown(outcome) for outcome in outcomes] == expected


AMENDING = JoinRules(window_ms=10_000, out_of_order_ms=2_000, idle_ms=1_000, min_modalities=2, amend_ms=5_000)
AMENDED = [
    # what, rules, rows, outcomes
    ("soon after", AMENDING, ["s a 0", "i a 5", "w 10001", "p a 9"], ["partial a si", "amended a sip"]),
    ("up to amend_ms", AMENDING, ["s a 0", "i a 5", "w 10001", "w 15000", "p a 9"], ["partial a si", "amended a sip"]),
    ("not later", AMENDING, ["s a 0", "i a 5", "w 10001", "w 15001", "p a 9"], ["partial a si", "late a p"]),
    ("not later in one step", AMENDING, ["s a 0", "i a 5", "w 15001", "p a 9"], ["partial a si", "late a p"]),
    (
        "once",
        AMENDING,
        ["s a 0", "i a 5", "w 10001", "p a 9", "p a 9"],
        ["partial a si", "amended a sip", "duplicate a p"],
    ),
    ("not what was incomplete", AMENDING, ["s a 0", "w 10001", "i a 5"], ["incomplete a s", "late a i"]),
    ("not without amend_ms", RULES, ["s a 0", "i a 5", "w 10001", "p a 9"], ["partial a si", "late a p"]),
    (
        "one by one",
        replace(AMENDING, min_modalities=1),
        ["s a 0", "w 10001", "p a 9", "i a 9"],
        ["partial a s", "amended a sp", "amended a sip"],
    ),
]


@pytest.mark.parametrize(
    ("rules", "rows", "expected"), [case[1:] for case in AMENDED], ids=[case[0] for case in AMENDED]
)
def test_amendments(rules: JoinRules, rows: list[str], expected: list[str]) -> None:
    assert [shown(outcome) for outcome in played(begun(rules), rows)] == expected


def test_an_amendment_names_what_is_new() -> None:
    (_, amended) = played(begun(AMENDING), ["s a 0", "p a 5", "w 10001", "i a 9"])
    assert isinstance(amended, Amended)
    assert amended.added.modality is Modality.IMAGE


def test_what_got_no_answer_is_not_amended() -> None:
    join = begun(AMENDING)
    (partial,) = played(join, ["s a 0", "i a 5", "w 10001"])
    assert isinstance(partial, Partial)
    join.withdraw(partial.window)
    assert join.amendable() == []
    assert [shown(outcome) for outcome in played(join, ["p a 9"])] == ["late a p"]


def test_a_withdrawal_reaches_an_amendment_that_the_join_has_forgotten() -> None:
    join = begun(AMENDING)
    partial, amended, *_ = played(join, ["s a 0", "i a 5", "w 10001", "p a 9", "w 100000"])
    assert not join._windows
    assert isinstance(partial, Partial)
    join.withdraw(partial.window)
    assert isinstance(amended, Amended)
    assert amended.window.is_withdrawn


def test_a_second_amendment_must_know_the_time_of_the_answer() -> None:
    one = replace(AMENDING, min_modalities=1)
    assert [shown(outcome) for outcome in played(begun(one), ["s a 5", "w 10006", "p a 3", "i a 9"])] == [
        "partial a s",
        "amended a sp",
        "late a i",
    ]


def test_payload_kept_for_amendments_is_counted_and_given_up() -> None:
    join = WindowJoin(AMENDING)
    for offset, modality in enumerate((Modality.SPEECH, Modality.IMAGE)):
        add(join, Record(modality, offset, b"a", 0, bytes(100)))
    assert join.kept_bytes == 0
    join.advance(10_001)
    assert join.kept_bytes == 200
    assert [record.offset for record in join.amendable()] == [0, 1]
    join.give_up_amendments()
    assert join.kept_bytes == 0
    assert [shown(outcome) for outcome in played(join, ["p a 9"])] == ["late a p"]
    join.advance(100_000)
    assert not join._windows


RESTARTED = [
    # what, amendable rows finished before the restart and fresh ones, as they are read; outcomes
    ("the missing input comes", ["s a 0 answered", "i a 1 answered", "p a 2"], ["amended a sip"]),
    ("and is read first", ["p a 2", "s a 0 answered", "i a 1 answered"], ["amended a sip"]),
    ("or in between", ["s a 0 answered", "p a 2", "i a 1 answered"], ["amended a sip"]),
    ("or not at all", ["s a 0 answered", "i a 1 answered", "w 30001"], []),
]


def test_an_amendment_that_waited_too_long_is_late() -> None:
    join = WindowJoin(AMENDING)
    for offset, row in enumerate(["s a 0", "i a 1"]):
        join.remember(record(row, offset), amendable=True)
    assert played(join, ["p a 2", "w 15001"]) == []
    assert [shown(outcome) for outcome in join.end_replay()] == ["late a p"]


def test_an_answer_is_not_amended_with_what_is_left_of_it() -> None:
    join = WindowJoin(AMENDING)
    join.remember(record("s a 0", 0), amendable=True)
    join.give_up_amendments()
    join.remember(record("i a 1", 1), amendable=True)
    assert join.amendable() == []
    assert join.end_replay() == []
    assert [shown(outcome) for outcome in played(join, ["p a 2"])] == ["late a p"]


@pytest.mark.parametrize(("rows", "expected"), [case[1:] for case in RESTARTED], ids=[case[0] for case in RESTARTED])
def test_amendments_after_a_restart(rows: list[str], expected: list[str]) -> None:
    join = WindowJoin(AMENDING)
    outcomes: list[Outcome] = []
    for offset, row in enumerate(rows):
        if row.endswith(" answered"):
            join.remember(record(row.removesuffix(" answered"), offset), amendable=True)
        else:
            outcomes += played(join, [row], first_offset=offset)
    outcomes += join.end_replay()
    assert join.end_replay() == []
    assert [shown(outcome) for outcome in outcomes] == expected


def test_open_windows_are_counted() -> None:
    join = WindowJoin(RULES)
    add(join, record("s a 0", 0))
    add(join, record("s b 0", 1))
    assert len(join) == 2
    join.advance(10_001)
    assert len(join) == 0


@pytest.mark.parametrize("watermarks", [[100_000], [10_600, 100_000], range(0, 100_000, 500)])
def test_memory_is_bounded(watermarks: Iterable[int]) -> None:
    join = WindowJoin(RULES)
    for number in range(1_000):
        add(join, record(f"s k{number % 990} {number if number < 990 else 15_000 + number}", number))
    for watermark_ms in watermarks:
        join.advance(watermark_ms)
    assert not join._windows
    assert not join._until_deadline
    assert not join._until_forgotten


def test_a_closed_window_lets_its_records_go() -> None:
    join = WindowJoin(RULES)
    payload = bytes(1_000)
    references = sys.getrefcount(payload)
    add(join, Record(Modality.SPEECH, 0, b"a", 0, payload))
    outcomes = join.advance(10_001)
    assert sys.getrefcount(payload) > references
    del outcomes
    assert sys.getrefcount(payload) == references
