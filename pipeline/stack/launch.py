"""Starts servers and waits until they answer."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.stack.errors import StackError
from pipeline.stack.jars import DEPLOY, Jars
from pipeline.stack.logs import tail
from pipeline.stack.processes import ServerProcess, find, spawn
from pipeline.stack.servers import Server, java_environment

_START_TIMEOUT_S = 90.0
_POLL_S = 0.05
_FREE_AT_LEAST_BYTES = 512 * 1024**2
_LOG_KEPT_BYTES = 16 * 1024**2
_LOG_LINES_SHOWN = 12

# Measured on two cores: both servers start with 5.0 instead of 8.8 CPU seconds, and 180,000 records in 900
# transactions after it cost the broker 5.0 instead of 11.3.
_QUICK_COMPILER = "-XX:TieredStopAtLevel=1"

_HINTS = {
    "No space left on device": "the disk is full: free some space or choose another --dir",
    "Address already in use": "a port was taken in the meantime: run this again, or choose ports with --kafka-port "
    "and --elasticsearch-port",
    "Could not reserve enough space": "there is too little free memory",
    "Cannot allocate memory": "there is too little free memory",
    "UnsupportedClassVersionError": "this Java is older than the one that compiled the starters: remove DIR/jars",
}


@dataclass(frozen=True, slots=True)
class Step:
    """Progress of one part of a start: the jars or a server."""

    name: str
    stage: Literal["working", "done", "was there"]
    text: str


OnProgress = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class Launcher:
    """Starts servers with one Java and one set of jars.

    Attributes:
        java: Java's path.
        jars: Where the servers' jars are.
        logs: The folder for `NAME.log`.
        bound_to: Pid of a process whose end also ends the servers, even by SIGKILL.
    """

    java: str
    jars: Jars
    logs: Path
    bound_to: int | None = None

    def start(self, server: Server) -> ServerProcess:
        """Configures and starts one server; returns at once."""
        server.configure(self.jars)
        log = self.logs / f"{server.name}.log"
        _set_aside(log)
        pid, created = spawn(server.command(self.java, self.jars, self._options()), log, java_environment())
        return ServerProcess(server.name, pid, created, server.port, str(server.data), str(log))

    def _options(self) -> tuple[str, ...]:
        bound = () if self.bound_to is None else (f"-Dtrimodal.bound_to={self.bound_to}",)
        return (
            _QUICK_COMPILER,
            f"-Dlog4j2.configurationFile={(DEPLOY / 'log4j2.properties').as_uri()}",
            "-Dlog4j.shutdownHookEnabled=false",
            f"-XX:ErrorFile={self.logs}/java-crash-%p.txt",
            "-XX:+ExitOnOutOfMemoryError",
            *bound,
        )


def await_answers(
    servers: Sequence[Server],
    processes: Mapping[str, ServerProcess],
    ready: Callable[[Server], bool],
    on_progress: OnProgress,
) -> None:
    """Waits until every server is ready.

    Args:
        servers: Those to wait for.
        processes: Their processes by name.
        ready: What counts: that it answers, or that it sees all others too.
        on_progress: Is told of each that is ready.

    Raises:
        StackError: One died, with the last lines of its log, or one was not ready within 90 s.
    """
    deadline = time.monotonic() + _START_TIMEOUT_S
    pending = list(servers)
    while pending:
        for server in tuple(pending):
            if ready(server):
                pending.remove(server)
                on_progress(Step(server.name, "done", f"answers on port {server.port}"))
            elif find(processes[server.name]) is None:
                raise StackError(_post_mortem(processes[server.name]))
        if pending and time.monotonic() > deadline:
            raise StackError(_silence(processes[pending[0].name]))
        if pending:
            time.sleep(_POLL_S)


def check_room(directory: Path) -> None:
    """Refuses a disk on which the servers would soon fail.

    Raises:
        StackError: Less than 512 MB are free.
    """
    free = shutil.disk_usage(directory).free
    if free < _FREE_AT_LEAST_BYTES:
        raise StackError(
            f"the disk of {directory} has {free // 1024**2} MB left, the servers need "
            f"{_FREE_AT_LEAST_BYTES // 1024**2}: free some space or choose another --dir"
        )


def _set_aside(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_KEPT_BYTES:
        log.replace(log.with_suffix(".log.1"))
    with log.open("a", encoding="utf-8") as stream:
        stream.write(f"---- trimodal stack starts {log.stem} ----\n")


def _last_words(process: ServerProcess) -> list[str]:
    lines = tail(Path(process.log), 400)
    starts = [index for index, line in enumerate(lines) if line.startswith("---- trimodal stack starts")]
    return lines[starts[-1] + 1 :] if starts else lines


def _post_mortem(process: ServerProcess) -> str:
    lines = _last_words(process)
    text = "\n".join(lines)
    hint = next((f"{advice}. " for sign, advice in _HINTS.items() if sign in text), "")
    shown = "\n".join(f"  {line[:200]}" for line in lines[-_LOG_LINES_SHOWN:])
    return f"{process.name} ended while it started: {hint}The end of {process.log}:\n{shown}"


def _silence(process: ServerProcess) -> str:
    shown = "\n".join(f"  {line[:200]}" for line in _last_words(process)[-_LOG_LINES_SHOWN:])
    return (
        f"{process.name} (pid {process.pid}) runs but did not answer on port {process.port} for "
        f"{_START_TIMEOUT_S:.0f} s: is the machine overloaded? The end of {process.log}:\n{shown}"
    )
