"""Who is compared: how each is installed and started, and the guarantee it really gives."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.broker import ROOT
from tests.bench.comparison import Contender
from tests.bench.programs import Program

HERE = Path(__file__).resolve().parent
HOMES = ROOT / ".local" / "peers"
_INSTALL_S = 900.0


class NotInstalled(Exception):
    """A peer cannot be had on this machine. The message is the installer's own."""


def kafka_streams() -> Contender:
    """Kafka Streams 4.1: Maven fetches it, and Java's own compiler compiles the one file."""
    home = HOMES / "kafka_streams"
    if not (home / "lib").is_dir():
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={home / 'lib'}"]
        _install(["mvn", "--batch-mode", "--quiet", "--file", str(HERE / "kafka_streams" / "pom.xml"), *goal])
    source, jars = HERE / "kafka_streams" / "Peer.java", ":".join(map(str, (home / "lib").glob("*.jar")))
    _install(["java", "-m", "jdk.compiler/com.sun.tools.javac.Main", "-cp", jars, "-d", str(home), str(source)])
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    extra = _state("kafka_streams") | {"BENCH_THREADS": str(os.cpu_count() or 1)}
    program = Program("Kafka Streams", ["java", "-Xmx2g", quiet, "-cp", f"{home}:{jars}", "Peer"], extra=extra)
    return Contender(program, "exactly once (exactly_once_v2)")


def quix_streams() -> Contender:
    """Quix Streams 3 with its state store."""
    command = [_python("quix_streams"), str(HERE / "quix_streams" / "peer.py")]
    return Contender(Program("Quix Streams", command, extra=_state("quix_streams")), "exactly once")


def faust() -> Contender:
    """Faust, the maintained fork."""
    command = [_python("faust_streaming"), str(HERE / "faust_streaming" / "peer.py"), "worker", "--loglevel=warn"]
    program = Program("Faust", command, extra=_state("faust_streaming"))
    return Contender(program, "exactly once (exactly_once)", share=0.03)


def bytewax() -> Contender:
    """Bytewax without recovery, as its tutorials start."""
    command = [_python("bytewax_flow"), "-m", "bytewax.run", "peer:flow"]
    program = Program("Bytewax", command, HERE / "bytewax_flow", _state("bytewax_flow"))
    return Contender(program, "none without recovery; at least once with it")


def pathway(*, persisted: bool) -> Contender:
    """Pathway, with and without snapshots."""
    command = [_python("pathway_live"), str(HERE / "pathway_live" / "peer.py")]
    extra = _state("pathway_live") | ({"BENCH_PERSISTED": "1"} if persisted else {})
    name, guarantee = ("Pathway, persisted", "at least once") if persisted else ("Pathway", "none over a restart")
    return Contender(Program(name, command, extra=extra), guarantee)


def all_peers() -> Iterator[tuple[str, Contender | NotInstalled]]:
    """Yields every peer, installed; or why it is not."""
    ways: dict[str, Callable[[], Contender]] = {
        "Kafka Streams": kafka_streams,
        "Quix Streams": quix_streams,
        "Faust": faust,
        "Bytewax": bytewax,
        "Pathway": lambda: pathway(persisted=False),
        "Pathway, persisted": lambda: pathway(persisted=True),
    }
    for name, way in ways.items():
        try:
            yield name, way()
        except NotInstalled as error:
            yield name, error


def versions() -> list[str]:
    """Returns the versions of the peers, as they are asked for."""
    asked = [line for file in sorted(HERE.glob("*/requirements.txt")) for line in file.read_text().split()]
    pom = (HERE / "kafka_streams" / "pom.xml").read_text()
    streams = re.search(r"<artifactId>kafka-streams</artifactId>\s*<version>(.*?)</version>", pom)
    return [f"kafka-streams=={streams[1] if streams else 'unknown'}", *(line for line in asked if "==" in line)]


def _state(peer: str) -> dict[str, str]:
    """Returns where a peer keeps its state: empty at the start."""
    folder = HOMES / peer / "state"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return {"BENCH_STATE": str(folder)}


def _python(peer: str) -> str:
    """Returns the interpreter of a peer's own environment, which is made if need be."""
    home = HOMES / peer
    interpreter, mark = home / "bin" / "python", home / "installed"
    requirements = HERE / peer / "requirements.txt"
    if not mark.is_file() or mark.read_bytes() != requirements.read_bytes():
        _install([sys.executable, "-m", "venv", str(home)])
        quiet = ["--quiet", "--disable-pip-version-check"]
        _install([str(interpreter), "-m", "pip", "install", *quiet, "-r", str(requirements)])
        shutil.copyfile(requirements, mark)
    return str(interpreter)


def _install(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_S)
    except subprocess.CalledProcessError as error:
        raise NotInstalled(f"{' '.join(command[:4])} …: {error.stderr.strip()[-600:]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{' '.join(command[:4])} …: {error}") from error
