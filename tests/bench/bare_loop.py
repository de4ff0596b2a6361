"""The yardstick: a bare transactional loop. `consume(n)`, a dict join, `produce`, `send_offsets`; nothing else.

No Avro, no offset map, no dead letters, no deadlines: what the client and the broker can do from Python.
Arguments: bootstrap servers, topic prefix, triples.
"""

import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from tests.bench.report import finished

BATCH = 64
POLL = 1_000
COMMIT_S = 0.1


def main(servers: str, prefix: str, triples: int) -> None:
    """Joins and commits all triples, then prints the figures."""
    group = f"{prefix}bare-{time.time_ns()}"
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
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
    consumer.subscribe([f"{prefix}speech", f"{prefix}image", f"{prefix}sensor"])
    waiting: dict[bytes, list[bytes]] = {}
    batch: list[tuple[bytes, list[bytes]]] = []
    positions: dict[tuple[str, int], int] = {}
    done, begin, last_commit, in_transaction = 0, 0.0, 0.0, False
    while done < triples:
        for message in consumer.consume(POLL, 0.05):
            begin = begin or time.monotonic()
            key, value = message.key(), message.value()
            positions[message.topic(), message.partition()] = message.offset() + 1  # type: ignore[index, operator]
            values = waiting.setdefault(key, [])  # type: ignore[arg-type]
            values.append(value)  # type: ignore[arg-type]
            if len(values) == 3:
                batch.append((key, waiting.pop(key)))  # type: ignore[arg-type]
        if not in_transaction:
            producer.begin_transaction()
            in_transaction = True
        while len(batch) >= BATCH or (batch and not waiting):
            chunk, batch = batch[:BATCH], batch[BATCH:]
            for joined_key, three in chunk:
                answer = b"%d" % (sum(part[len(part) // 2] for part in three) // 3)
                producer.produce(f"{prefix}predictions", answer, joined_key)
            done += len(chunk)
        producer.poll(0)
        if time.monotonic() - last_commit > COMMIT_S or done >= triples:
            offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in positions.items()]
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
            producer.commit_transaction()
            in_transaction, last_commit = False, time.monotonic()
    finished(triples, time.monotonic() - begin)
    consumer.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
