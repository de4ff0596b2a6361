"""Fetches the servers' jars from Maven Central, once, into a folder that several stacks can share."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.stack.errors import DownloadFailed, StackError
from pipeline.stack.state import only_one
from pipeline.stack.tools import maven, run_tool

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "local"

_DOWNLOAD_TIMEOUT_S = 1800.0
_MODULE = "transport-netty4"
_SOURCES = (
    "pom.xml",
    "kafka/pom.xml",
    "kafka/KafkaNode.java",
    "elasticsearch/pom.xml",
    "elasticsearch/ElasticsearchNode.java",
    "elasticsearch/plugin-descriptor.properties",
)


@dataclass(frozen=True, slots=True)
class Jars:
    """A complete set: the servers' jars and the compiled starters of `deploy/local`."""

    folder: Path

    @property
    def kafka(self) -> Path:
        """The jars of Kafka's class path."""
        return self.folder / "kafka"

    @property
    def elasticsearch(self) -> Path:
        """The jars of Elasticsearch's module path."""
        return self.folder / "elasticsearch"

    @property
    def elasticsearch_home(self) -> Path:
        """Elasticsearch's `path.home`: it holds `modules/transport-netty4`, and nothing is written to it."""
        return self.folder / "elasticsearch-home"

    @property
    def starters(self) -> Path:
        """The class files of the two starters."""
        return self.folder / "starters"


def cached(root: Path) -> Jars | None:
    """Returns the set that belongs to `deploy/local` as it is now, if it is in `root`.

    Raises:
        StackError: `deploy/local` is not where it belongs.
    """
    jars = Jars(root / _fingerprint())
    return jars if jars.folder.is_dir() else None


def fetch(root: Path, java: str) -> Jars:
    """Fetches the jars with Maven and compiles the starters; does nothing when another process was faster.

    The set is built in a folder beside its place and moved there when it is complete.

    Raises:
        ToolMissing: Maven is not installed.
        DownloadFailed: Maven could not fetch the jars.
        StackError: The starters do not compile, for instance because this Java has no compiler.
    """
    with only_one(root / "lock", wait=True):
        if ready := cached(root):
            return ready
        jars = Jars(root / _fingerprint())
        partial = Jars(root / f"{jars.folder.name}.partial")
        shutil.rmtree(partial.folder, ignore_errors=True)
        _download(partial.folder)
        _lay_out_home(partial)
        _compile(partial, java)
        partial.folder.rename(jars.folder)
    return jars


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for source in _SOURCES:
        file = DEPLOY / source
        if not file.is_file():
            raise StackError(f"{file} is missing: run `trimodal` from a checkout, installed with `pip install -e .`")
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _download(folder: Path) -> None:
    command = [
        *(maven(), "--quiet", "--batch-mode", "--file", str(DEPLOY / "pom.xml")),
        *("dependency:copy-dependencies", f"-Djars={folder}"),
    ]
    status, output = run_tool(command, timeout_s=_DOWNLOAD_TIMEOUT_S)
    if status != 0:
        lines = [line for line in output.splitlines() if line.startswith("[ERROR]")] or output.splitlines()
        raise DownloadFailed(
            "Maven could not fetch Kafka and Elasticsearch: check the network, and the proxy or mirror in "
            "~/.m2/settings.xml, then run this again. It said:\n" + "\n".join(lines[:6])
        )


def _lay_out_home(jars: Jars) -> None:
    module = jars.elasticsearch_home / "modules" / _MODULE
    module.mkdir(parents=True)
    (jars.elasticsearch_home / "plugins").mkdir()
    for pattern in (f"{_MODULE}-*.jar", "netty-*.jar"):
        for jar in jars.elasticsearch.glob(pattern):
            jar.rename(module / jar.name)
    shutil.copy(DEPLOY / "elasticsearch" / "plugin-descriptor.properties", module)


def _compile(jars: Jars, java: str) -> None:
    compiler = (java, "-m", "jdk.compiler/com.sun.tools.javac.Main", "--release", "17", "-d", str(jars.starters))
    paths = {
        "kafka/KafkaNode.java": ("--class-path", ":".join(map(str, jars.kafka.glob("*.jar")))),
        "elasticsearch/ElasticsearchNode.java": (
            *("--module-path", str(jars.elasticsearch)),
            *("--add-modules", "ALL-MODULE-PATH"),
        ),
    }
    for source, path in paths.items():
        status, output = run_tool([*compiler, *path, str(DEPLOY / source)], timeout_s=300)
        if status != 0:
            raise StackError(
                f"{source} does not compile with {java}; if it says that jdk.compiler is not found, install a full "
                f"JDK 17 (apt install openjdk-17-jdk-headless). It said:\n{output.strip()}"
            )
