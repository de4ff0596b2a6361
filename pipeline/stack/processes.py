"""Starts and ends server processes that outlive the command that started them."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.stack.errors import StackError

_CLOCK_STEP_S = 2.0
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """One started server. `created` (seconds since the epoch) tells it from a later process with the same pid."""

    name: str
    pid: int
    created: float
    port: int
    data: str
    log: str


def mark(data: Path | str) -> str:
    """Returns the Java option that marks a process as the server of one data folder."""
    return f"-Dtrimodal.data={data}"


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Lets SIGINT, SIGTERM and SIGHUP wait, so that no process is started without being recorded."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = {number: signal.signal(number, lambda number, _: held.append(number)) for number in _INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if held:
            signal.raise_signal(held[0])


def spawn(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> tuple[int, float]:
    """Starts a program in a session of its own, so that Ctrl-C in the terminal does not reach it.

    Args:
        command: The program's path and its arguments.
        log: Its output is appended here.
        environment: All of its environment variables.

    Returns:
        Its pid and the time of its creation in seconds since the epoch.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    pid = os.posix_spawn(
        command[0],
        list(command),
        environment,
        file_actions=actions,
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, *_INTERRUPTS],
    )
    return pid, psutil.Process(pid).create_time()


def find(server: ServerProcess) -> psutil.Process | None:
    """Returns the server's live process, or nothing when it is gone or its pid is somebody else's now."""
    try:
        process = psutil.Process(server.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        same_time = abs(process.create_time() - server.created) < _CLOCK_STEP_S
        return process if same_time or mark(server.data) in process.cmdline() else None
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def end(servers: Sequence[ServerProcess], grace_s: float) -> None:
    """Ends these processes and no others: SIGTERM, then SIGKILL to those that are left after `grace_s` seconds.

    Raises:
        StackError: A process survived SIGKILL.
    """
    alive = [process for server in servers if (process := find(server))]
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
            process.resume()  # a paused process would keep SIGTERM waiting
    _, alive = psutil.wait_procs(alive, timeout=grace_s)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(alive, timeout=5)
    if alive:
        pids = ", ".join(str(process.pid) for process in alive)
        raise StackError(f"process {pids} did not end after SIGKILL (stuck in the kernel?): end it by hand")


def wait_stopped(process: psutil.Process, timeout_s: float = 5.0) -> None:
    """Waits until a process that was sent SIGSTOP is stopped."""
    deadline = time.monotonic() + timeout_s
    while process.status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
        time.sleep(0.005)
