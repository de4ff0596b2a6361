import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pipeline.stack.processes import ServerProcess, end, find, interrupts_held, mark, spawn, wait_stopped

Start = Callable[..., ServerProcess]

WAITS = ("-c", "import signal; print('ready', flush=True); signal.pause()")
DEAF = ("-c", "import signal; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); signal.pause()")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    servers: list[ServerProcess] = []

    def start(*arguments: str) -> ServerProcess:
        log = tmp_path / f"{len(servers)}.log"
        pid, created = spawn([sys.executable, *arguments], log, dict(os.environ))
        servers.append(ServerProcess("server", pid, created, 1, str(tmp_path / "data"), str(log)))
        return servers[-1]

    yield start
    end(servers, grace_s=0)


def wait_ready(server: ServerProcess) -> None:
    while "ready" not in Path(server.log).read_text():
        os.sched_yield()


def test_a_started_process_is_found_and_has_a_session_of_its_own(start: Start) -> None:
    server = start(*WAITS)

    process = find(server)

    assert process is not None
    assert os.getsid(process.pid) == process.pid


def test_its_output_goes_to_the_log(start: Start) -> None:
    server = start("-c", "import sys; print('out', flush=True); print('err', file=sys.stderr)")

    psutil.Process(server.pid).wait(timeout=10)

    assert Path(server.log).read_text() == "out\nerr\n"


def test_a_process_with_a_reused_pid_is_neither_found_nor_ended(start: Start) -> None:
    stranger = start(*WAITS)
    recorded = replace(stranger, created=stranger.created - 60)

    assert find(recorded) is None
    end([recorded], grace_s=0)
    assert find(stranger) is not None


def test_the_mark_identifies_a_process_after_the_clock_was_set(start: Start, tmp_path: Path) -> None:
    server = start(*WAITS, mark(tmp_path / "data"))
    wait_ready(server)

    assert find(replace(server, created=server.created - 60)) is not None


def test_a_process_that_ended_is_not_found(start: Start) -> None:
    server = start("-c", "pass")

    psutil.Process(server.pid).wait(timeout=10)

    assert find(server) is None


def test_end_stops_also_what_ignores_sigterm_or_is_paused(start: Start) -> None:
    deaf, paused, plain = start(*DEAF), start(*WAITS), start(*WAITS)
    for server in (deaf, paused, plain):
        wait_ready(server)
    process = psutil.Process(paused.pid)
    process.suspend()
    wait_stopped(process)

    end([deaf, paused, plain], grace_s=0.5)

    assert [find(server) for server in (deaf, paused, plain)] == [None, None, None]


def test_an_interrupt_waits_until_the_process_is_recorded() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012  (the point is where in the block it is raised)
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            steps.append("recorded")
        steps.append("after")

    assert steps == ["recorded"]
