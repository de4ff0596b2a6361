"""Signals unwind a command as Ctrl-C does."""

import signal
from collections.abc import Iterator
from io import StringIO

import pytest
from rich.console import Console

from pipeline.cli.leaving import unwound_by_signals


@pytest.fixture(autouse=True)
def _hangup_as_it_was() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("number", "said"), [(signal.SIGTERM, "Stopped.\n"), (signal.SIGHUP, "")])
def test_what_was_started_is_ended_and_nobody_is_told_on_a_terminal_that_is_gone(
    number: signal.Signals, said: str
) -> None:
    console = Console(file=StringIO())
    ended = []

    def work() -> None:
        try:
            signal.raise_signal(number)
        finally:
            ended.append(number)
            console.print("Stopped.")

    with pytest.raises(SystemExit) as leaving, unwound_by_signals(console):
        work()
    assert leaving.value.code == 128 + number
    assert ended == [number]
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue() == said


def test_what_was_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with unwound_by_signals():
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
