"""Pathway as its documentation has it: three tables read from Kafka, two joins, one written back.

With BENCH_PERSISTED=1 it keeps snapshots, for at-least-once over a restart.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pathway as pw

PREFIX = os.environ["BENCH_PREFIX"]
COMMIT_MS = 500
_said: list[bool] = []


def say_first(value: bytes) -> bytes:
    """Returns the value; says once that the first byte has been read.

    The clock starts before any join, as in the other peers, at speech alone to spare it calls. Pathway hands its
    records over every `COMMIT_MS`, so that its clock may still start that much late, in Pathway's favour.
    """
    if not _said:
        _said.append(True)
        sys.stdout.write(json.dumps({"first": time.time()}) + "\n")
        sys.stdout.flush()
    return value


def mean(one: bytes, two: bytes, three: bytes) -> bytes:
    """Returns the mean byte in decimal digits."""
    triple = one + two + three
    return b"%d" % (int(np.frombuffer(triple, np.uint8).sum(dtype=np.uint32)) // len(triple))


def read(topic: str) -> pw.Table:
    """Returns a topic as a table of keys and payloads."""
    settings = {
        "bootstrap.servers": os.environ["BENCH_SERVERS"],
        "group.id": os.environ["BENCH_GROUP"],
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
    }
    return pw.io.kafka.read(
        settings, PREFIX + topic, format="raw", autocommit_duration_ms=COMMIT_MS, autogenerate_key=True, name=topic
    )


def main() -> None:
    """Joins and answers until the process is ended."""
    speech, image, sensor = (read(topic) for topic in ("speech", "image", "sensor"))
    speech = speech.select(speech.key, data=pw.apply_with_type(say_first, bytes, speech.data))
    pairs = speech.join(image, speech.key == image.key).select(key=speech.key, one=speech.data, two=image.data)
    triples = pairs.join(sensor, pairs.key == sensor.key).select(
        key=pairs.key, value=pw.apply_with_type(mean, bytes, pairs.one, pairs.two, sensor.data)
    )
    pw.io.kafka.write(
        triples,
        {"bootstrap.servers": os.environ["BENCH_SERVERS"], "compression.type": "lz4"},
        f"{PREFIX}predictions",
        format="raw",
        key=triples.key,
        value=triples.value,
    )
    persistence = None
    if os.environ.get("BENCH_PERSISTED"):
        folder = Path(os.environ["BENCH_STATE"]) / os.environ["BENCH_GROUP"]
        persistence = pw.persistence.Config(
            pw.persistence.Backend.filesystem(str(folder)), snapshot_interval_ms=COMMIT_MS
        )
    pw.run(monitoring_level=pw.MonitoringLevel.NONE, persistence_config=persistence)


if __name__ == "__main__":
    main()
