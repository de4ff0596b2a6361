"""Faust as its documentation has it: an agent over three topics, a table for what has come, exactly_once."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import faust
import numpy as np

PREFIX = os.environ["BENCH_PREFIX"]

app = faust.App(
    os.environ["BENCH_GROUP"],
    broker=f"kafka://{os.environ['BENCH_SERVERS']}",
    processing_guarantee="exactly_once",
    topic_partitions=6,
    topic_replication_factor=1,
    store="memory://",
    datadir=Path(os.environ["BENCH_STATE"]) / os.environ["BENCH_GROUP"],
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
    key_serializer="raw",
    value_serializer="raw",
)
sources = app.topic(*(PREFIX + name for name in ("speech", "image", "sensor")), key_type=bytes, value_type=bytes)
predictions = app.topic(f"{PREFIX}predictions", key_type=bytes, value_type=bytes, internal=False)
held = app.Table("held", default=bytes, partitions=6, key_type=bytes, value_type=bytes)
_said: list[bool] = []


@app.agent(sources)
async def join(records: Any) -> None:
    """Keeps a key's payloads behind their number until the third answers."""
    async for key, value in records.items():
        if not _said:
            _said.append(True)
            print(json.dumps({"first": time.time()}), file=sys.__stdout__, flush=True)
        before = held[key] or b"\0"
        if before[0] == 2:
            del held[key]
            await predictions.send(key=key, value=mean(before[1:] + value))
        else:
            held[key] = bytes([before[0] + 1]) + before[1:] + value


def mean(triple: bytes) -> bytes:
    """Returns the mean byte in decimal digits."""
    return b"%d" % (int(np.frombuffer(triple, np.uint8).sum(dtype=np.uint32)) // len(triple))


if __name__ == "__main__":
    app.main()
