"""Quix Streams as its documentation has it: the three topics as one dataframe, a state store, exactly-once.

The state of a key holds the payloads that have come, behind their number; the third one answers.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from quixstreams import Application, State

COMMIT_S = 0.5
_said: list[bool] = []


def main() -> None:
    """Joins and answers until the process is ended."""
    prefix = os.environ["BENCH_PREFIX"]
    application = Application(
        broker_address=os.environ["BENCH_SERVERS"],
        consumer_group=os.environ["BENCH_GROUP"],
        processing_guarantee="exactly-once",
        auto_offset_reset="earliest",
        commit_interval=COMMIT_S,
        state_dir=Path(os.environ["BENCH_STATE"]) / os.environ["BENCH_GROUP"],
        # Quix's own default of 100 ms would make each commit ten times as long, as it would ours.
        producer_extra_config={"compression.type": "lz4", "retry.backoff.ms": 2},
        loglevel="WARNING",
    )
    output = application.topic(f"{prefix}predictions", value_serializer="bytes")
    speech, image, sensor = (
        application.dataframe(application.topic(prefix + name, value_deserializer="bytes"))
        for name in ("speech", "image", "sensor")
    )
    triples = speech.concat(image).concat(sensor).apply(join, stateful=True).filter(lambda triple: triple is not None)
    triples.apply(mean).to_topic(output)
    application.run()


def join(value: bytes, state: State) -> bytes | None:
    """Returns a key's three payloads, one after the other, when the third is there."""
    if not _said:
        _said.append(True)
        sys.stdout.write(json.dumps({"first": time.time()}) + "\n")
        sys.stdout.flush()
    held = state.get_bytes("payloads", b"\0")
    if held[0] == 2:
        state.delete("payloads")
        return held[1:] + value
    state.set_bytes("payloads", bytes([held[0] + 1]) + held[1:] + value)
    return None


def mean(triple: bytes) -> bytes:
    """Returns the mean byte in decimal digits."""
    return b"%d" % (int(np.frombuffer(triple, np.uint8).sum(dtype=np.uint32)) // len(triple))


if __name__ == "__main__":
    main()
