from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from pipeline.stack.logs import follow, tail


def after(*steps: Callable[[], object]) -> Callable[[], None]:
    """A pause in which, one pause after the other, the steps happen."""
    waiting: Iterator[Callable[[], object]] = iter(steps)
    return lambda: (next(waiting)(), None)[1]


def append(file: Path, text: str) -> None:
    with file.open("a") as stream:
        stream.write(text)


def test_tail_gives_the_last_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    file.write_bytes(b"one\ntwo\nthr\xffe\n")

    assert tail(file, 2) == ["two", "thr\ufffde"]
    assert tail(file, 0) == []
    assert tail(tmp_path / "none.log", 2) == []


def test_follow_gives_whole_lines_that_are_new(tmp_path: Path) -> None:
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    first.write_text("old\n")
    pause = after(
        lambda: append(first, "new\nhal"),
        lambda: append(second, "born\n"),
        lambda: append(first, "f\n"),
    )

    lines = list(islice(follow({"first": first, "second": second}, pause), 3))

    assert lines == [("first", "new"), ("second", "born"), ("first", "half")]


def test_follow_goes_on_when_the_log_begins_afresh(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    file.write_text("a long line of the old log\n")
    pause = after(lambda: file.write_text("fresh\n"))

    assert list(islice(follow({"a": file}, pause), 1)) == [("a", "fresh")]
