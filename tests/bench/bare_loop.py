"""The yardstick: a bare transactional loop. `consume(n)`, a dict join, the stub, `produce_batch`, `send_offsets`.

No Avro, no offset map, no dead letters, no deadlines: what the client and the broker can do from Python.
Of what was tried on two cores (polls of 500 to 10,000, `produce_batch`, commits every 0.1 to 0.5 s, fetches of 0.25 to
8 MB, queues of 16 to 64 MB) only `produce_batch` made a difference beyond the noise: a tenth less CPU.

With `carry` as its argument it reads the headers of every record and gives each answer those of its key's first:
`produce_batch` takes none, so the answers are produced one by one.
"""

import os
import sys
import time
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from tests.bench.clock import say_first
from tests.bench.stub import BATCH, mean_bytes

POLL = 2_000
POLL_S = 0.01
COMMIT_S = 0.2


def connect(servers: str, group: str) -> tuple[Consumer, Producer]:
    """Returns the two clients; the producer has its transactional id."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 10,
            "fetch.wait.max.ms": 50,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "transactional.id": group,
            "compression.type": "lz4",
            "retry.backoff.ms": 2,
            "linger.ms": 1,
            "queue.buffering.max.messages": 1_000_000,
            "delivery.report.only.error": True,
        }
    )
    producer.init_transactions()
    return consumer, producer


def main(servers: str, prefix: str, group: str, triples: int, *, carry: bool = False) -> None:
    """Joins, answers and commits all triples."""
    consumer, producer = connect(servers, group)
    consumer.subscribe([f"{prefix}{topic}" for topic in ("speech", "image", "sensor")])
    output = f"{prefix}predictions"
    waiting: dict[bytes, list[bytes]] = {}
    batch: list[tuple[bytes, list[bytes]]] = []
    headers: dict[bytes, Any] = {}
    positions: dict[tuple[str, int], int] = {}
    done, last_commit = 0, time.monotonic()
    producer.begin_transaction()
    messages: list[Any] = [_first(consumer)]
    say_first()
    while done < triples:
        for message in messages:
            key = message.key()
            positions[message.topic(), message.partition()] = message.offset() + 1
            if carry:
                headers.setdefault(key, message.headers())
            values = waiting.get(key)
            if values is None:
                waiting[key] = [message.value()]
            else:
                values.append(message.value())
                if len(values) == 3:
                    batch.append((key, waiting.pop(key)))
        while len(batch) >= BATCH or (batch and not waiting):
            chunk, batch = batch[:BATCH], batch[BATCH:]
            means = mean_bytes([three for _, three in chunk]).tolist()
            answers = zip(chunk, means, strict=True)
            if carry:
                for (key, _), mean in answers:
                    producer.produce(output, b"%d" % mean, key, headers=headers.pop(key))
            else:
                producer.produce_batch(output, [{"key": key, "value": b"%d" % mean} for (key, _), mean in answers])
            done += len(chunk)
        producer.poll(0)
        if time.monotonic() - last_commit > COMMIT_S or done >= triples:
            offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in positions.items()]
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
            producer.commit_transaction()
            last_commit = time.monotonic()
            if done < triples:
                producer.begin_transaction()
        messages = consumer.consume(POLL, POLL_S) if done < triples else []
    consumer.close()


def _first(consumer: Consumer) -> Message:
    while (message := consumer.poll(1.0)) is None:
        pass
    return message


if __name__ == "__main__":
    own = os.environ
    main(
        own["BENCH_SERVERS"],
        own["BENCH_PREFIX"],
        own["BENCH_GROUP"],
        int(own["BENCH_TRIPLES"]),
        carry="carry" in sys.argv,
    )
