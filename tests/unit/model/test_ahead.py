"""The order in which pieces of work are begun and ended."""

import threading

import pytest

from pipeline.model.ahead import Ahead

WAIT_S = 30.0


class Workshop:
    """Writes down what is begun and ended; `gate` holds the first piece's beginning until all are handed over."""

    def __init__(self, depth: int) -> None:
        self.events: list[str] = []
        self.gate = threading.Event()
        self.ahead = Ahead(self.begin, self.end, depth)

    def begin(self, name: str) -> str:
        assert self.gate.wait(WAIT_S)
        self.events.append(f"begin {name}")
        if name == "bad":
            raise ValueError(name)
        return name.upper()

    def end(self, name: str) -> str:
        self.events.append(f"end {name}")
        if name == "WORSE":
            raise ValueError(name)
        return name * 2


CASES = [
    # what,                            depth, pieces, events
    ("one at a time",                  1, "abc", "begin a, end A, begin b, end B, begin c, end C"),
    ("the next before the last",       2, "abc", "begin a, begin b, end A, begin c, end B, end C"),
    ("two before the last",            3, "abc", "begin a, begin b, begin c, end A, end B, end C"),
    ("an unready one holds up no end", 2, "aBc", "begin a, end A, begin B, begin c, end B, end C"),
]  # fmt: skip


@pytest.mark.parametrize(("depth", "pieces", "events"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_pieces_are_begun_ahead_and_ended_in_order(depth: int, pieces: str, events: str) -> None:
    workshop = Workshop(depth)
    # A capital letter is not ready until something has ended.
    results = [
        workshop.ahead.submit(name, lambda name=name: name.islower() or "end A" in workshop.events)  # type: ignore[misc]
        for name in pieces
    ]
    workshop.gate.set()
    assert [result.result(WAIT_S) for result in results] == [name.upper() * 2 for name in pieces]
    workshop.ahead.close()
    assert ", ".join(workshop.events) == events


def test_what_is_raised_comes_out_of_its_own_result() -> None:
    workshop = Workshop(2)
    workshop.gate.set()
    results = [workshop.ahead.submit(name, lambda: True) for name in ("a", "bad", "worse", "b")]
    assert [results[0].result(WAIT_S), results[3].result(WAIT_S)] == ["AA", "BB"]
    for result, said in ((results[1], "bad"), (results[2], "WORSE")):
        with pytest.raises(ValueError, match=said):
            result.result(WAIT_S)
    workshop.ahead.close()


def test_closing_ends_what_was_handed_over() -> None:
    workshop = Workshop(2)
    results = [workshop.ahead.submit(name, lambda: True) for name in "abcd"]
    workshop.gate.set()
    workshop.ahead.close()
    assert all(result.done() for result in results)
