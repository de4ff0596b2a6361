"""Which servers the stack has and on which ports: decided once, kept beside the data."""

import base64
import json
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.stack.errors import StackError
from pipeline.stack.ports import HOST, free_ports, is_free

FILE = "layout.json"


@dataclass(frozen=True, slots=True)
class Layout:
    """The stack's fixed facts. Kafka's data belongs to `cluster_id` and to this number of brokers."""

    cluster_id: str
    broker_ports: tuple[int, ...]
    controller_ports: tuple[int, ...]
    elasticsearch_port: int
    transport_port: int

    @property
    def brokers(self) -> int:
        """The number of Kafka nodes."""
        return len(self.broker_ports)

    @property
    def bootstrap_servers(self) -> str:
        """Where Kafka's clients start, as their `bootstrap.servers` wants it."""
        return ",".join(f"{HOST}:{port}" for port in self.broker_ports)

    @property
    def elasticsearch_url(self) -> str:
        """Where Elasticsearch answers."""
        return f"http://{HOST}:{self.elasticsearch_port}"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller asks for: `None` brokers is as before or one, port 0 is as before or any free one."""

    brokers: int | None = None
    kafka_port: int = 0
    elasticsearch_port: int = 0


def plan(wish: Wish, previous: Layout | None) -> Layout:
    """Lays out a stack of which nothing runs.

    With three brokers, a wished Kafka port is the first of three in a row.

    Raises:
        StackError: A wished port is taken, or the data is of a different number of brokers.
    """
    brokers = _brokers(wish, previous)
    wanted = [wish.kafka_port + index if wish.kafka_port else 0 for index in range(brokers)]
    for port in wanted:
        _check(port, "Kafka", "--kafka-port")
    _check(wish.elasticsearch_port, "Elasticsearch", "--elasticsearch-port")
    if wish.elasticsearch_port in wanted and wish.elasticsearch_port:
        raise StackError(f"port {wish.elasticsearch_port} is asked for by both servers: change --elasticsearch-port")
    wanted += [0] * brokers + [wish.elasticsearch_port, 0]
    before = _ports(previous) if previous else [0] * len(wanted)
    ports = _settle(wanted, before)
    return Layout(
        cluster_id=previous.cluster_id if previous else _new_cluster_id(),
        broker_ports=tuple(ports[:brokers]),
        controller_ports=tuple(ports[brokers : 2 * brokers]),
        elasticsearch_port=ports[-2],
        transport_port=ports[-1],
    )


def check_running(wish: Wish, layout: Layout) -> None:
    """Refuses a wish that a running stack cannot meet.

    Raises:
        StackError: Another number of brokers or another port is asked for.
    """
    _brokers(wish, layout)
    asked = {wish.kafka_port: layout.broker_ports[0], wish.elasticsearch_port: layout.elasticsearch_port}
    for port, running in asked.items():
        if port and port != running:
            raise StackError(
                f"the stack is up on port {running}, so it cannot take port {port}: run `trimodal stack down` first"
            )


def read_layout(directory: Path) -> Layout | None:
    """Reads the layout that belongs to the data in `directory`, or nothing if there is none.

    Raises:
        StackError: The file is damaged.
    """
    file = directory / FILE
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        fields = json.loads(text)
        return Layout(
            cluster_id=str(fields["cluster_id"]),
            broker_ports=tuple(map(int, fields["broker_ports"])),
            controller_ports=tuple(map(int, fields["controller_ports"])),
            elasticsearch_port=int(fields["elasticsearch_port"]),
            transport_port=int(fields["transport_port"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(
            f"{file} is damaged ({error!r}): `trimodal stack down --wipe` removes it with the data"
        ) from error


def to_json(layout: Layout) -> str:
    """Returns what `read_layout` reads."""
    return json.dumps(asdict(layout), indent=2) + "\n"


def _brokers(wish: Wish, previous: Layout | None) -> int:
    if wish.brokers is None:
        return previous.brokers if previous else 1
    if wish.brokers not in {1, 3}:
        raise StackError(f"{wish.brokers} brokers are asked for: --brokers is 1 or 3")
    if previous and wish.brokers != previous.brokers:
        raise StackError(
            f"the data here is of a stack with {previous.brokers} broker(s), not {wish.brokers}: leave "
            "--brokers out, choose another --dir, or remove the data with `trimodal stack down --wipe`"
        )
    return wish.brokers


def _check(port: int, server: str, option: str) -> None:
    if not 0 <= port <= 65_535:
        raise StackError(f"{port} is no port: {option} takes 1 to 65535, or 0 for any free one")
    if port and not is_free(port):
        raise StackError(
            f"port {port} for {server} is taken by another program: choose another with {option}, or 0 for any"
        )


def _ports(layout: Layout) -> list[int]:
    return [*layout.broker_ports, *layout.controller_ports, layout.elasticsearch_port, layout.transport_port]


def _settle(wanted: list[int], before: list[int]) -> list[int]:
    ports = [
        new or (old if old and old not in wanted and is_free(old) else 0)
        for new, old in zip(wanted, before, strict=True)
    ]
    picked = iter(free_ports(ports.count(0), taken=set(ports)))
    return [port or next(picked) for port in ports]


def _new_cluster_id() -> str:
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):  # would read as an option on Kafka's command line
            return text
