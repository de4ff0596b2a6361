"""Three brokers, which of them does what, and the faults they can be given."""

import time
from collections.abc import Iterator
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.stack import LocalStack, StackAddresses

WAIT_S = 90.0
GROUP_LOG = "__consumer_offsets"
TRANSACTION_LOG = "__transaction_state"


class Cluster:
    """The brokers of a stack, by their names in it: kafka-1, kafka-2, kafka-3."""

    def __init__(self, stack: LocalStack, addresses: StackAddresses) -> None:
        self.stack = stack
        self.addresses = addresses
        self.brokers = [f"kafka-{number}" for number in range(1, addresses.bootstrap_servers.count(",") + 2)]
        quiet: dict[str, Any] = {"log_level": 0, "error_cb": lambda _: None}
        self._admin = AdminClient({"bootstrap.servers": addresses.bootstrap_servers} | quiet)

    def leader(self, topic: str, partition: int) -> str:
        """Returns the broker that leads a partition."""
        return f"kafka-{self._partitions(topic)[partition].leader}"

    def group_coordinator(self, group: str) -> str:
        """Returns the broker that coordinates a consumer group."""
        return self._leader_for(GROUP_LOG, group)

    def transaction_coordinator(self, transactional_id: str) -> str:
        """Returns the broker that coordinates a producer's transactions."""
        return self._leader_for(TRANSACTION_LOG, transactional_id)

    def kill(self, *names: str) -> None:
        """Ends brokers with SIGKILL."""
        for name in names:
            self.stack.kill(name)

    def restart(self, name: str) -> None:
        """Ends a broker with SIGTERM if it runs, starts it and waits until every partition is on all replicas."""
        self.stack.restart(name)
        self.await_whole()

    def up(self) -> None:
        """Starts all that are down and waits until every partition is on all replicas."""
        self.stack.up()
        self.await_whole()

    def await_whole(self) -> None:
        """Waits until no partition lacks a replica, so that the next fault is the only one."""
        deadline = time.monotonic() + WAIT_S
        while torn := list(self._torn()):
            assert time.monotonic() < deadline, f"after {WAIT_S} s without all replicas: {torn[:5]}"

    def _torn(self) -> Iterator[str]:
        try:
            topics = self._admin.list_topics(timeout=5).topics
        except KafkaException as error:
            yield str(error)
            return
        for name, topic in topics.items():
            for number, partition in topic.partitions.items():
                if len(partition.isrs) < len(partition.replicas) or partition.leader < 0:
                    yield f"{name}[{number}]"

    def _leader_for(self, log: str, name: str) -> str:
        """Returns the leader of the log's partition for a name: Kafka's Utils.abs(name.hashCode()) % partitions."""
        return self.leader(log, java_hash(name) % len(self._partitions(log)))

    def _partitions(self, topic: str) -> dict[int, Any]:
        partitions: dict[int, Any] = self._admin.list_topics(topic, timeout=10).topics[topic].partitions
        return partitions


def java_hash(text: str) -> int:
    """Returns Java's String.hashCode without its sign bit, as `Utils.abs` leaves it."""
    value = 0
    for character in text:
        value = (31 * value + ord(character)) & 0xFFFFFFFF
    signed = value - (1 << 32) if value >= 1 << 31 else value
    return 0 if signed == -(1 << 31) else abs(signed)
