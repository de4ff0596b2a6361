"""What a scenario sees of a replica while it works: its metrics, its memory, what it has committed."""

import re
import urllib.request
from collections import Counter

from pipeline.events.records import Modality
from pipeline.join import offset_map
from pipeline.join.tracker import Position
from pipeline.kafka.contract import TopicPartition
from pipeline.kafka.offsets import OffsetQueries
from pipeline.kafka.reader import TopicReader
from tests.support.world import WAIT_S, World


def left_open(world: World) -> tuple[int, set[bytes]]:
    """Returns how many delivered records have no outcome yet, and those of their keys of which all inputs were read.

    The keys are read from the topics; a key is expected to be used once.
    """
    positions = {where: position for where, (position, _) in committed(world).items()}
    read: Counter[bytes] = Counter()
    unfinished: set[bytes] = set()
    with TopicReader(world.settings.kafka, "test") as reader:
        for batch in reader.read({where: range(position.high) for where, position in positions.items()}):
            for message in batch:
                key = message.key or b""
                read[key] += 1
                if message.offset in positions[TopicPartition(message.topic, message.partition)].unfinished:
                    unfinished.add(key)
    return sum(len(p.unfinished) for p in positions.values()), {key for key in unfinished if read[key] == len(Modality)}


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
