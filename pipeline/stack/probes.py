"""Asks a server whether it really answers, without its client library."""

import http.client
import json
import socket
import struct
from dataclasses import dataclass

from pipeline.stack.ports import HOST

_DESCRIBE_CLUSTER = 60
_CORRELATION_ID = 1


@dataclass(frozen=True, slots=True)
class ClusterView:
    """What one Kafka node knows of its cluster: its id and the ids of the brokers that serve."""

    cluster_id: str
    broker_ids: frozenset[int]


def describe_kafka(port: int, timeout_s: float) -> ClusterView | None:
    """Sends DescribeCluster v0 to a broker.

    Source: Kafka protocol guide, "DescribeCluster API (Key: 60)"; a flexible version, so request header v2 and
    response header v1, compact strings and arrays (length + 1 as unsigned varint) and tagged fields.

    Returns:
        The broker's view, or nothing while it does not answer.
    """
    header = struct.pack(">hhih", _DESCRIBE_CLUSTER, 0, _CORRELATION_ID, -1) + b"\x00"
    request = header + b"\x00\x00"  # include_cluster_authorized_operations = false, no tagged fields
    try:
        with socket.create_connection((HOST, port), timeout=timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as stream:
                (size,) = struct.unpack(">i", stream.read(4))
                return parse_describe_cluster(stream.read(size))
    except (OSError, struct.error, ValueError, IndexError):
        return None


def parse_describe_cluster(response: bytes) -> ClusterView:
    """Reads a DescribeCluster v0 response, header included.

    Raises:
        ValueError: The broker answered with an error code.
        struct.error: The response is cut short.
        IndexError: The response is cut short.
    """
    reader = _Reader(response)
    reader.skip(4)  # correlation id
    reader.tags()
    reader.skip(4)  # throttle time
    if error_code := reader.int16():
        raise ValueError(f"DescribeCluster failed with Kafka's error code {error_code}")
    reader.compact_string()
    cluster_id = reader.compact_string()
    reader.skip(4)  # controller id
    broker_ids = set()
    for _ in range(reader.varint() - 1):
        broker_ids.add(reader.int32())
        reader.compact_string()
        reader.skip(4)  # port
        reader.compact_string()
        reader.tags()
    return ClusterView(cluster_id, frozenset(broker_ids))


def elasticsearch_answers(port: int, timeout_s: float) -> bool:
    """Tells whether `/_cluster/health` answers and all primary shards are there (green or yellow)."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    try:
        connection.request("GET", "/_cluster/health")
        response = connection.getresponse()
        health = json.loads(response.read())
        return response.status == http.client.OK and health["status"] in {"green", "yellow"}
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False
    finally:
        connection.close()


class _Reader:
    """Reads Kafka's primitive types from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def skip(self, size: int) -> None:
        self._at += size

    def int16(self) -> int:
        (value,) = struct.unpack_from(">h", self._data, self._at)
        self._at += 2
        return int(value)

    def int32(self) -> int:
        (value,) = struct.unpack_from(">i", self._data, self._at)
        self._at += 4
        return int(value)

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def compact_string(self) -> str:
        length = max(self.varint() - 1, 0)  # 0 stands for null
        text = self._data[self._at : self._at + length].decode()
        self._at += length
        return text

    def tags(self) -> None:
        for _ in range(self.varint()):
            self.varint()
            self.skip(self.varint())
