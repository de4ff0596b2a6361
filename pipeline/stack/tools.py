"""Finds Java and Maven, and runs them for short jobs."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pipeline.stack.errors import StackError, ToolMissing

_JAVA_AT_LEAST = 17
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


def java() -> str:
    """Returns the path of a Java that can run the servers: `JAVA_HOME`'s, else the one on the `PATH`.

    Raises:
        ToolMissing: There is none, or it is older than 17.
    """
    home = os.environ.get("JAVA_HOME")
    path = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    if path is None:
        where = f"JAVA_HOME is {home}, which has no bin/java: correct it, or" if home else "Java is not on the PATH:"
        raise ToolMissing(f"{where} {install_hint()}")
    status, output = run_tool([path, "-version"], timeout_s=30)
    version = _VERSION.search(output)
    if status != 0 or version is None:
        raise ToolMissing(f"{path} does not run ({output.strip()}): {install_hint()}")
    if int(version[1]) < _JAVA_AT_LEAST:
        raise ToolMissing(
            f"{path} is Java {version[1]}, the servers need {_JAVA_AT_LEAST} or later: {install_hint()}; "
            "JAVA_HOME chooses among several"
        )
    return path


def maven() -> str:
    """Returns the path of Maven.

    Raises:
        ToolMissing: It is not on the `PATH`.
    """
    path = shutil.which("mvn")
    if path is None:
        raise ToolMissing(f"Maven (mvn) is not on the PATH, it fetches the servers once: {install_hint()}")
    return path


def install_hint() -> str:
    """Returns the command that installs Java and Maven on this system."""
    if sys.platform == "darwin":
        return "brew install openjdk@17 maven"
    known = {
        "apt-get": "apt install openjdk-17-jre-headless maven",
        "dnf": "dnf install java-17-openjdk-devel maven",
        "pacman": "pacman -S jdk17-openjdk maven",
        "apk": "apk add openjdk17 maven",
    }
    for tool, command in known.items():
        if shutil.which(tool):
            return command
    return "install Java 17 and Maven, for instance: apt install openjdk-17-jre-headless maven"


def run_tool(command: Sequence[str], timeout_s: float) -> tuple[int, str]:
    """Runs a program to its end; whatever interrupts this call ends the program with all its children.

    Returns:
        Its exit status, and its standard output and error as one text.

    Raises:
        StackError: It took longer than `timeout_s` seconds.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise StackError(
                    f"`{command[0]}` was not done after {timeout_s:.0f} s: run it by hand to see why"
                ) from error
            raise
    return process.returncode, output
