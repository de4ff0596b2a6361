"""Publishes triples at a steady rate until it is told to stop. Each key carries when it was handed to the client.

It publishes with the shipped publisher's properties, since they decide how many requests a second are the broker's
load: the client sends each partition's records in a request of its own, and only an idempotent one waits while five
are unanswered. Its queue alone is larger, so that it never refuses a record.

Arguments: triples a second, and the bytes of the three payloads. All three records of a key go out together, in
order: an event that comes late makes its triple late, and that is the data's latency, not the pipeline's.
"""

import random
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from confluent_kafka import Producer

from pipeline.events.codec import Codec
from pipeline.events.records import Modality
from pipeline.kafka.producer import client_properties
from pipeline.settings import load
from tests.bench.backlog import event

TICK_S = 0.001
QUEUED = {"queue.buffering.max.messages": 1_000_000, "queue.buffering.max.kbytes": 1 << 20}
_POOL = 32


def key_of(published: float, number: int) -> bytes:
    """Returns the key of a triple; `published` is in seconds since the epoch."""
    return b"%d-%d" % (round(published * 1e6), number)


def published_at(key: bytes) -> float:
    """Returns when the triple of a key was published, seconds since the epoch."""
    return int(key.partition(b"-")[0]) / 1e6


def main(rate: float, sizes: Sequence[int]) -> None:
    """Publishes in ticks of a millisecond or so, as many triples as are due."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings = load().settings
    shipped = client_properties(settings.kafka, "live", settings.topics.max_record_bytes)
    producer = Producer({**shipped, **QUEUED})
    topics = settings.topics.sources
    pools = [list(_encoded(modality, size)) for modality, size in zip(Modality, sizes, strict=True)]
    begin, number = time.time(), 0
    while not stop.wait(TICK_S):
        now = time.time()
        due = int((now - begin) * rate) - number
        stamp = _zigzag(int(now * 1_000))
        keys = [key_of(now, n) for n in range(number, number + due)]
        for topic, pool in zip(topics, pools, strict=True):
            parts = (pool[n % _POOL] for n in range(number, number + due))
            values = [head + stamp + tail for head, tail in parts]
            producer.produce_batch(topic, [{"key": k, "value": v} for k, v in zip(keys, values, strict=True)])
        number += due
        producer.poll(0)
    producer.flush(10.0)


def _encoded(modality: Modality, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yields encoded events as what stands before and after their time, which is the first field."""
    codec, now_ms = Codec(), int(time.time() * 1_000)
    stamp = _zigzag(now_ms)
    for seed in range(_POOL):
        value = codec.encode_event(event(modality, now_ms, random.Random(seed).randbytes(size)))
        head, _, tail = value.partition(stamp)
        yield head, tail


def _zigzag(number: int) -> bytes:
    """Returns a positive number as Avro writes a long."""
    number, encoded = number << 1, bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


if __name__ == "__main__":
    main(float(sys.argv[1]), [int(size) for size in sys.argv[2:]])
