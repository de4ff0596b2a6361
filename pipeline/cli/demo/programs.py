"""The programs that the demo starts, as processes of their own, and ends by pid."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from pipeline.stack.processes import interrupts_held, spawn

RECORD = "demo.json"
GRACE_S = 30.0


class ProgramFailed(Exception):
    """A program of the demo ended by itself. The message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Program:
    """A started program.

    Attributes:
        name: what it is called here.
        pid: its process.
        created: seconds since the epoch; tells it from a later process with its pid.
        log: what it writes.
        address: where people can look at it; empty if nowhere.
        required: whether the demo fails when it ends.
    """

    name: str
    pid: int
    created: float
    log: str
    address: str = ""
    required: bool = True

    def process(self) -> psutil.Process | None:
        """Returns the live process, if it is still this program."""
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            if process.create_time() == self.created and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


class Programs:
    """Starts programs and ends them; what is to stay up is recorded, so that a later demo finds it.

    Args:
        directory: the stack's; logs and the record go there.
        environment: set for the programs, beside this process's own.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = environment
        self._running: list[Program] = []

    def start_once(self, name: str, arguments: Sequence[str], *, address: str = "", required: bool = True) -> Program:
        """Starts `trimodal ARGUMENTS`, unless it was adopted; returns what runs."""
        if adopted := next((program for program in self._running if program.name == name), None):
            return adopted
        logs = self._directory / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        log = logs / f"{name}.log"
        command = [sys.executable, "-m", "pipeline.cli", *arguments]
        with interrupts_held():
            pid, created = spawn(command, log, {**os.environ, **self._environment})
            program = Program(name, pid, created, str(log), address, required)
            self._running.append(program)
        return program

    def check(self) -> None:
        """Raises ProgramFailed if one has ended that the demo needs."""
        for program in self._running:
            if program.required and program.process() is None:
                lines = Path(program.log).read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
                raise ProgramFailed(f"{program.name} has ended. The end of {program.log}:\n" + "\n".join(lines))

    def end(self) -> list[str]:
        """Ends all of them: SIGTERM, so that they finish what is in flight, and after a while SIGKILL.

        Returns:
            Those that ran.
        """
        alive = {program.name: process for program in self._running if (process := program.process())}
        for process in alive.values():
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        _, stubborn = psutil.wait_procs(alive.values(), timeout=GRACE_S)
        for process in stubborn:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(stubborn, timeout=5)
        self._running = []
        (self._directory / RECORD).unlink(missing_ok=True)
        return list(alive)

    def record(self) -> None:
        """Writes down what runs, for `adopt`."""
        text = json.dumps([asdict(program) for program in self._running], indent=2)
        (self._directory / RECORD).write_text(text + "\n", encoding="utf-8")

    def adopt(self) -> None:
        """Takes over what an earlier demo left running.

        Raises:
            ProgramFailed: its record is damaged.
        """
        file = self._directory / RECORD
        try:
            programs = [Program(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))]
        except FileNotFoundError:
            return
        except (ValueError, TypeError) as error:
            raise ProgramFailed(
                f"{file} is damaged ({error}): end by hand what an earlier demo has left "
                "(`ps aux | grep pipeline.cli` lists it) and remove the file."
            ) from error
        self._running = [program for program in programs if program.process() is not None]
