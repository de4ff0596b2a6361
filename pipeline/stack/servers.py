"""The two kinds of server: how each is configured, started and asked whether it answers."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Protocol

from pipeline.stack.errors import StackError
from pipeline.stack.jars import DEPLOY, Jars
from pipeline.stack.layout import Layout
from pipeline.stack.ports import HOST
from pipeline.stack.probes import describe_kafka, elasticsearch_answers
from pipeline.stack.processes import mark

ELASTICSEARCH = "elasticsearch"

_PROBE_TIMEOUT_S = 1.0
_ELASTICSEARCH_HEAP_MB = 512


class Server(Protocol):
    """One process of the stack."""

    @property
    def name(self) -> str:
        """Its name in every command, for instance `kafka-1`."""

    @property
    def port(self) -> int:
        """Where its clients connect."""

    @property
    def data(self) -> Path:
        """The folder that holds its data."""

    def configure(self, jars: Jars) -> None:
        """Writes its configuration file."""

    def command(self, java: str, jars: Jars, options: tuple[str, ...]) -> list[str]:
        """Returns the command line that runs it; `options` are for Java."""

    def answers(self) -> bool:
        """Tells whether it serves its clients now."""

    def sees_all(self) -> bool:
        """Tells whether it serves and sees every other server of its kind."""


@dataclass(frozen=True, slots=True)
class KafkaNode:
    """A Kafka node that is broker and controller."""

    folder: Path
    layout: Layout
    node_id: int

    @property
    def name(self) -> str:
        """Starts at `kafka-1`."""
        return f"kafka-{self.node_id}"

    @property
    def port(self) -> int:
        """The listener of its clients and of the other brokers."""
        return self.layout.broker_ports[self.node_id - 1]

    @property
    def data(self) -> Path:
        """Kafka's `log.dirs`."""
        return self.folder / "data"

    def configure(self, jars: Jars) -> None:
        """Writes `server.properties`, and after it what the stack's own `kafka.properties` has."""
        del jars
        layout = self.layout
        voters = (f"{index}@{HOST}:{port}" for index, port in enumerate(layout.controller_ports, start=1))
        text = _fill(
            "kafka/server.properties",
            node_id=self.node_id,
            voters=",".join(voters),
            port=self.port,
            controller_port=layout.controller_ports[self.node_id - 1],
            data=_escape(str(self.data)),
            replicas=layout.brokers,
            in_sync=min(2, layout.brokers),
        )
        own = self.folder.parent / "kafka.properties"
        if own.exists():
            text += f"\n# From {own.name}\n{own.read_text(encoding='ascii')}"
        self.data.mkdir(parents=True, exist_ok=True)
        self._properties.write_text(text, encoding="ascii")

    def command(self, java: str, jars: Jars, options: tuple[str, ...]) -> list[str]:
        """Returns the command line; the heap is smaller when there are three."""
        heap_mb = 512 if self.layout.brokers == 1 else 384
        return [
            *(java, f"-Xmx{heap_mb}m", mark(self.data), *options),
            *("-cp", f"{jars.starters}:{jars.kafka}/*", "KafkaNode"),
            *(self.layout.cluster_id, str(self._properties), str(self.data)),
        ]

    def answers(self) -> bool:
        """Tells whether the broker answers and serves (is not fenced) by its own account."""
        return self.node_id in self._sees()

    def sees_all(self) -> bool:
        """Tells whether the broker's metadata has all brokers."""
        return len(self._sees()) == self.layout.brokers

    def _sees(self) -> frozenset[int]:
        view = describe_kafka(self.port, _PROBE_TIMEOUT_S)
        return view.broker_ids if view and view.cluster_id == self.layout.cluster_id else frozenset()

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"


@dataclass(frozen=True, slots=True)
class ElasticsearchNode:
    """A single Elasticsearch node: the server's core without the modules that Maven Central lacks."""

    folder: Path
    layout: Layout

    @property
    def name(self) -> str:
        """There is one."""
        return ELASTICSEARCH

    @property
    def port(self) -> int:
        """Its HTTP port."""
        return self.layout.elasticsearch_port

    @property
    def data(self) -> Path:
        """Elasticsearch's `path.data`."""
        return self.folder / "data"

    def configure(self, jars: Jars) -> None:
        """Writes `elasticsearch.yml`."""
        text = _fill(
            "elasticsearch/elasticsearch.yml",
            name=self.name,
            home=_quoted(jars.elasticsearch_home),
            data=_quoted(self.data),
            logs=_quoted(self.folder / "logs"),
            port=self.port,
            transport_port=self.layout.transport_port,
        )
        for folder in (self._config, self._temporary):
            folder.mkdir(parents=True, exist_ok=True)
        (self._config / "elasticsearch.yml").write_text(text, encoding="utf-8")

    def command(self, java: str, jars: Jars, options: tuple[str, ...]) -> list[str]:
        """Returns the command line; Elasticsearch is on the module path, as its own launcher has it."""
        return [
            *(java, f"-Xms{_ELASTICSEARCH_HEAP_MB}m", f"-Xmx{_ELASTICSEARCH_HEAP_MB}m", mark(self.data), *options),
            f"-Djava.io.tmpdir={self._temporary}",
            *("--module-path", str(jars.elasticsearch), "--add-modules", "ALL-MODULE-PATH"),
            *("-cp", str(jars.starters), "ElasticsearchNode", str(self._config)),
        ]

    def answers(self) -> bool:
        """Tells whether the cluster's health is green or yellow."""
        return elasticsearch_answers(self.port, _PROBE_TIMEOUT_S)

    def sees_all(self) -> bool:
        """Tells whether it answers: it is alone."""
        return self.answers()

    @property
    def _config(self) -> Path:
        return self.folder / "config"

    @property
    def _temporary(self) -> Path:
        return self.folder / "tmp"


def servers_of(directory: Path, layout: Layout) -> list[Server]:
    """Returns the stack's servers, Kafka first."""
    nodes = [KafkaNode(directory / f"kafka-{index}", layout, index) for index in range(1, layout.brokers + 1)]
    return [*nodes, ElasticsearchNode(directory / ELASTICSEARCH, layout)]


def java_environment() -> dict[str, str]:
    """Returns the servers' environment: ours, with a locale in which Java takes any file name."""
    return {**os.environ, "LC_ALL": "C.UTF-8"}


def _fill(template: str, /, **values: str | int) -> str:
    file = DEPLOY / template
    try:
        return Template(file.read_text(encoding="utf-8")).substitute(values)
    except (KeyError, ValueError) as error:
        raise StackError(f"{file} has a placeholder that the stack does not know: {error}") from error


def _escape(text: str) -> str:
    """Escapes a value for a Java properties file, which is read as Latin-1 and has backslash escapes."""
    units = text.replace("\\", "\\\\").encode("utf-16-be")
    codes = (int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2))
    return "".join(chr(code) if code < 0x80 else f"\\u{code:04x}" for code in codes)


def _quoted(path: Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)
