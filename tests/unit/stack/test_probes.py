import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pipeline.stack.ports import free_ports
from pipeline.stack.probes import ClusterView, describe_kafka, elasticsearch_answers, parse_describe_cluster

CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qk"

# A Kafka 4.1.0 broker's answer to DescribeCluster v0, captured, with the correlation id of the probe.
ANSWER = (
    b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x17MkU3OEVBNTcwNTJENDM2Qk\x00\x00\x00\x01"
    b"\x02\x00\x00\x00\x01\n127.0.0.1\x00\x00q\xa4\x00\x00\x80\x00\x00\x00\x00"
)


@contextmanager
def server(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """A server that answers one request on one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(answer(connection.recv(4096)))

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join()


def test_a_brokers_answer_is_read() -> None:
    assert parse_describe_cluster(ANSWER) == ClusterView(CLUSTER_ID, frozenset({1}))


@pytest.mark.parametrize("length", [0, 3, 8, 12, 40, 42])
def test_an_answer_that_is_cut_short_is_no_answer(length: int) -> None:
    cut = ANSWER[:length]

    with server(lambda _: struct.pack(">i", len(cut)) + cut) as port:
        assert describe_kafka(port, timeout_s=5) is None


def test_an_error_code_is_no_answer() -> None:
    failed = ANSWER[:9] + b"\x00\x08" + ANSWER[11:]

    with pytest.raises(ValueError, match="error code 8"):
        parse_describe_cluster(failed)


def test_the_request_is_what_kafkas_protocol_says() -> None:
    requests = []

    def answer(request: bytes) -> bytes:
        requests.append(request)
        return struct.pack(">i", len(ANSWER)) + ANSWER

    with server(answer) as port:
        view = describe_kafka(port, timeout_s=5)

    assert view == ClusterView(CLUSTER_ID, frozenset({1}))
    assert requests == [bytes.fromhex("0000000d003c000000000001ffff000000")]


def test_silence_and_a_closed_port_are_no_answer() -> None:
    with server(lambda _: b"") as port:
        assert describe_kafka(port, timeout_s=5) is None
    assert describe_kafka(free_ports(1)[0], timeout_s=5) is None
    assert not elasticsearch_answers(free_ports(1)[0], timeout_s=5)


@pytest.mark.parametrize(
    ("status", "body", "up"),
    [
        (200, '{"status": "green"}', True),
        (200, '{"status": "yellow"}', True),
        (200, '{"status": "red"}', False),
        (503, '{"status": "green"}', False),
        (200, "<html>", False),
        (200, "[]", False),
    ],
)
def test_elasticsearch_is_up_when_its_primary_shards_are(status: int, body: str, up: bool) -> None:
    response = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()

    with server(lambda _: response) as port:
        assert elasticsearch_answers(port, timeout_s=5) is up
