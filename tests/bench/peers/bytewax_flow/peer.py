"""Bytewax as its documentation has it: three Kafka sources, `join`, a Kafka sink. Run by `python -m bytewax.run`."""

import json
import os
import sys
import time

import bytewax.operators as op
import numpy as np
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.connectors.kafka import operators as kafka
from bytewax.dataflow import Dataflow, Stream

SERVERS, PREFIX = [os.environ["BENCH_SERVERS"]], os.environ["BENCH_PREFIX"]
_said: list[bool] = []


def keyed(message: KafkaSourceMessage) -> tuple[str, bytes]:
    """Returns key and value, as `join` takes them."""
    if not _said:
        _said.append(True)
        sys.stdout.write(json.dumps({"first": time.time()}) + "\n")
        sys.stdout.flush()
    return message.key.decode(), message.value


def answer(joined: tuple[str, tuple[bytes, bytes, bytes]]) -> KafkaSinkMessage:
    """Returns the mean byte in decimal digits."""
    key, payloads = joined
    triple = b"".join(payloads)
    mean = int(np.frombuffer(triple, np.uint8).sum(dtype=np.uint32)) // len(triple)
    return KafkaSinkMessage(key.encode(), b"%d" % mean)


def source(flow: Dataflow, topic: str) -> Stream:
    """Returns a topic as a keyed stream."""
    messages = op.input(topic, flow, KafkaSource(SERVERS, [PREFIX + topic], batch_size=1_000))
    return op.map(f"key-{topic}", messages, keyed)


flow = Dataflow("peer")
streams = [source(flow, topic) for topic in ("speech", "image", "sensor")]
triples = op.join("join", *streams, emit_mode="complete")
kafka.output("predictions", op.map("mean", triples, answer), brokers=SERVERS, topic=f"{PREFIX}predictions")
