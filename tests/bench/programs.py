"""Runs one loop as a process of its own and measures it from outside."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.settings import Settings
from tests.bench.broker import ROOT
from tests.bench.watching import Watcher

STOP_S = 30.0
LOGS = ROOT / ".local" / "bench"


@dataclass(frozen=True, slots=True)
class Program:
    """How a loop is started.

    It prints `{"first": …}`, seconds since the epoch, when it has read its first byte, and goes on until it is told
    to stop or has nothing left. It finds the broker and the topics in its environment, see `environment`.

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
        cpu_s: processor time of the whole process, start included.
        peak_mb: most memory it had, MB.
    """

    seconds: float
    cpu_s: float
    peak_mb: int


def python(module: str, name: str, *arguments: str) -> Program:
    """Returns a loop that is a module of this repository."""
    return Program(name, [sys.executable, "-m", module, *arguments])


def environment(settings: Settings, triples: int) -> dict[str, str]:
    """Returns the environment of a loop, with a consumer group that has read nothing yet."""
    group = f"bench-{time.time_ns()}"
    return {
        **os.environ,
        "BENCH_SERVERS": settings.kafka.bootstrap_servers,
        "BENCH_PREFIX": settings.topics.prefix,
        "BENCH_GROUP": group,
        "BENCH_TRIPLES": str(triples),
        "TRIMODAL_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "TRIMODAL_KAFKA__GROUP": group,
        "TRIMODAL_TOPICS__PREFIX": settings.topics.prefix,
        "TRIMODAL_MONITORING__ENABLE_METRICS": "false",
        "TRIMODAL_MONITORING__LOG_LEVEL": "WARNING",
    }


def measure(program: Program, settings: Settings, triples: int, limit_s: float) -> Measured:
    """Runs a loop over the backlog until `triples` predictions are committed, then ends it.

    Raises:
        RuntimeError: the loop failed, or has not come to an end within `limit_s`; with the end of what it printed.
    """
    settled = environment(settings, triples) | dict(program.extra)
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / program.name.replace(" ", "-")
    out, err = log.with_suffix(".out"), log.with_suffix(".err")
    with Watcher(settings) as watcher, out.open("w") as standard_out, err.open("w") as standard_error:
        process = subprocess.Popen(
            program.command, cwd=program.folder, env=settled, stdout=standard_out, stderr=standard_error
        )
        try:
            done = watcher.wait(triples, limit_s, lambda: _has_ended(process))
        finally:
            usage = _end(process)
    if done is None:
        tail = err.read_text(encoding="utf-8", errors="replace")[-2_000:]
        raise RuntimeError(f"{program.name} has not committed {triples} predictions within {limit_s:.0f} s:\n{tail}")
    first = next(json.loads(line)["first"] for line in out.read_text().splitlines() if line.startswith('{"first"'))
    return Measured(done - first, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1_024)


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    # Leaves it to be waited for: its usage is only told once.
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(process: "subprocess.Popen[bytes]") -> resource.struct_rusage:
    deadline = time.monotonic() + STOP_S
    if not _has_ended(process):
        process.terminate()
    while not _has_ended(process):
        if time.monotonic() > deadline:
            process.kill()
        time.sleep(0.05)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage
