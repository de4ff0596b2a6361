"""Runs one loop as processes of its own and measures it from outside."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipeline.settings import Settings
from tests.bench.broker import ROOT
from tests.bench.watching import Watcher

STOP_S = 30.0
LOGS = ROOT / ".local" / "bench"


@dataclass(frozen=True, slots=True)
class Program:
    """How a loop is started.

    It says when it has read its first byte, see `tests.bench.clock`, and goes on until it is told to stop or has
    nothing left. It finds the broker and the topics in its environment, see `environment`.

    Attributes:
        name: in the report.
        command: arguments of the process.
        folder: where it runs.
        extra: what it needs in its environment beyond that.
    """

    name: str
    command: Sequence[str]
    folder: Path = ROOT
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run.

    Attributes:
        seconds: from the first byte read until all predictions are committed.
        cpu_s: processor time of all its processes, their start included.
        peak_mb: most memory that one of them had, MB.
    """

    seconds: float
    cpu_s: float
    peak_mb: int


def python(module: str, name: str, *arguments: str) -> Program:
    """Returns a loop that is a module of this repository."""
    return Program(name, [sys.executable, "-m", module, *arguments])


def environment(settings: Settings) -> dict[str, str]:
    """Returns the environment of a loop, with a consumer group that has read nothing yet."""
    group = f"bench-{time.time_ns()}"
    return {
        **os.environ,
        "BENCH_SERVERS": settings.kafka.bootstrap_servers,
        "BENCH_PREFIX": settings.topics.prefix,
        "BENCH_GROUP": group,
        "TRIMODAL_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "TRIMODAL_KAFKA__GROUP": group,
        "TRIMODAL_TOPICS__PREFIX": settings.topics.prefix,
        "TRIMODAL_MONITORING__ENABLE_METRICS": "false",
        "TRIMODAL_MONITORING__LOG_LEVEL": "WARNING",
    }


def measure(program: Program, settings: Settings, triples: int, limit_s: float, replicas: int = 1) -> Measured:
    """Runs a loop over the backlog until `triples` predictions are committed, then ends it.

    Raises:
        RuntimeError: the loop failed, or has not come to an end within `limit_s`; with the end of what it printed.
    """
    settled = environment(settings) | {"BENCH_TRIPLES": str(triples)} | dict(program.extra)
    with Watcher(settings) as watcher, ExitStack() as stack:
        processes = [stack.enter_context(_Process(program, settled, number)) for number in range(replicas)]
        done = watcher.wait(triples, limit_s, lambda: all(process.has_ended() for process in processes))
        cpu_s = sum(process.end() for process in processes)
    if done is None:
        tail = processes[0].err.read_text(encoding="utf-8", errors="replace")[-2_000:]
        raise RuntimeError(f"{program.name} has not committed {triples} predictions within {limit_s:.0f} s:\n{tail}")
    first = min(process.first() for process in processes)
    return Measured(done - first, cpu_s, max(process.peak_mb for process in processes))


def peak_mb(pid: int | str) -> int:
    """Returns the most memory that a running process has had, MB; 0 if it has ended.

    Not `ru_maxrss`: a child's begins with what its parent had when it started it.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1_024 for line in lines if line.startswith("VmHWM:")), 0)


def processor_s(pid: int) -> float:
    """Returns the processor time that a running process has had, its ended children's included; 0 if it has ended."""
    try:
        return sum(psutil.Process(pid).cpu_times()[:4])
    except psutil.NoSuchProcess:
        return 0.0


class _Process:
    """One process of a loop, with what it prints in files. A context manager that leaves nothing running."""

    def __init__(self, program: Program, settled: Mapping[str, str], number: int) -> None:
        LOGS.mkdir(parents=True, exist_ok=True)
        log = LOGS / f"{program.name.replace(' ', '-')}-{number}"
        self.out, self.err = log.with_suffix(".out"), log.with_suffix(".err")
        self.peak_mb = 0
        own = {**settled, "TRIMODAL_KAFKA__REPLICA": f"replica-{number}"}
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self._process = subprocess.Popen(program.command, cwd=program.folder, env=own, stdout=out, stderr=err)

    def __enter__(self) -> "_Process":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self.end()

    def has_ended(self) -> bool:
        # Leaves it to be waited for: how much it used is told only once.
        if self._process.returncode is not None:
            return True
        self.peak_mb = max(self.peak_mb, peak_mb(self._process.pid))
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def first(self) -> float:
        lines = self.out.read_text(encoding="utf-8", errors="replace").splitlines()
        said = [json.loads(line)["first"] for line in lines if line.startswith('{"first"')]
        return float(min(said, default=float("inf")))

    def end(self) -> float:
        """Ends it; returns the processor time of it and of what it has started."""
        deadline = time.monotonic() + STOP_S
        others_s = 0.0
        if not self.has_ended():
            others = psutil.Process(self._process.pid).children(recursive=True)
            others_s = sum(processor_s(other.pid) for other in others)
            self._process.terminate()
        while not self.has_ended():
            if time.monotonic() > deadline:
                self._process.kill()
            time.sleep(0.02)
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_utime + usage.ru_stime + others_s
