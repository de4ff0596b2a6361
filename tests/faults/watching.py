"""What a scenario sees of a replica while it works: its metrics, its memory, what it has committed."""

import re
import time
import urllib.request
from collections.abc import Callable

from pipeline.join import offset_map
from pipeline.join.tracker import Position
from pipeline.kafka.contract import TopicPartition
from pipeline.kafka.offsets import OffsetQueries
from tests.support.world import WAIT_S, World


def await_true(what: str, happened: Callable[[], bool], within_s: float = WAIT_S) -> None:
    """Waits until something has happened."""
    deadline = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline, f"not in {within_s} s: {what}"


def metric(world: World, replica: str, name: str) -> float:
    """Returns a metric of a replica, all its labels added up."""
    ports = re.findall(r'"metrics_port": (\d+)', world.log(replica))
    with urllib.request.urlopen(f"http://127.0.0.1:{ports[-1]}/metrics", timeout=WAIT_S) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(rf"{name}[ {{]", line))


def committed(world: World) -> dict[TopicPartition, tuple[Position, int]]:
    """Returns what is committed for each source partition, and the size of its map in characters."""
    queries = OffsetQueries(world.settings.kafka, "test")
    found = queries.committed(world.name, queries.partitions(world.settings.topics.sources))
    return {
        where: (
            offset_map.decode(entry.metadata, where.topic, where.partition, entry.offset),
            len(entry.metadata),
        )
        for where, entry in found.items()
    }
