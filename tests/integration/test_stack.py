"""The local stack with the real servers: life, data, crash and faults."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.cimpl import NewTopic
from typer.testing import CliRunner

from pipeline.cli.stack import app
from pipeline.stack import LocalStack, StackAddresses
from tests.support.stack import JARS, new_stack, started

pytestmark = pytest.mark.stack


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[LocalStack]:
    stack = new_stack(tmp_path / "with space ü")
    yield stack
    stack.down()


@pytest.fixture
def three_brokers(tmp_path: Path) -> Iterator[LocalStack]:
    stack = new_stack(tmp_path, brokers=3)
    yield stack
    stack.down()


def admin(addresses: StackAddresses) -> AdminClient:
    return AdminClient({"bootstrap.servers": addresses.bootstrap_servers, "log_level": 0})


def create_topic(addresses: StackAddresses, topic: str) -> None:
    client = admin(addresses)
    client.create_topics([NewTopic(topic, 3)])[topic].result(timeout=30)


def topics(addresses: StackAddresses) -> set[str]:
    return set(admin(addresses).list_topics(timeout=30).topics)


def call(
    addresses: StackAddresses, method: str, path: str, document: dict[str, str] | None = None
) -> dict[str, object]:
    request = urllib.request.Request(
        f"{addresses.elasticsearch_url}/{path}",
        method=method,
        data=json.dumps(document).encode() if document else None,
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        answer = json.load(response)
    assert isinstance(answer, dict)
    return answer


def states(stack: LocalStack) -> dict[str, str]:
    return {server.name: server.state for server in stack.status()}


def test_topics_and_indices_outlive_down_and_a_crash(own_stack: LocalStack) -> None:
    addresses = started(own_stack)
    create_topic(addresses, "kept")
    call(addresses, "PUT", "kept/_doc/1?refresh=true", {"label": "7"})
    pids = [server.pid for server in own_stack.status()]

    assert own_stack.down() == ("kafka-1", "elasticsearch")
    assert own_stack.status() == ()
    assert not any(psutil.pid_exists(pid) for pid in pids)

    assert own_stack.up() == addresses
    assert "kept" in topics(addresses)
    for server in own_stack.status():
        os.kill(server.pid, signal.SIGKILL)
        psutil.Process(server.pid).wait(timeout=10)
    assert states(own_stack) == {"kafka-1": "down", "elasticsearch": "down"}

    assert own_stack.up() == addresses
    assert "kept" in topics(addresses)
    assert call(addresses, "GET", "kept/_doc/1")["_source"] == {"label": "7"}


def test_three_brokers_replicate_and_bear_a_kill(three_brokers: LocalStack) -> None:
    addresses = started(three_brokers)
    create_topic(addresses, "replicated")
    client = admin(addresses)
    partitions = client.list_topics("replicated", timeout=30).topics["replicated"].partitions
    assert all(len(partition.replicas) == 3 for partition in partitions.values())
    resource = ConfigResource(ConfigResource.Type.TOPIC, "replicated")
    assert client.describe_configs([resource])[resource].result(30)["min.insync.replicas"].value == "2"

    three_brokers.pause("kafka-3")
    assert states(three_brokers)["kafka-3"] == "silent"
    three_brokers.resume("kafka-3")
    three_brokers.kill("kafka-2")
    assert states(three_brokers)["kafka-2"] == "down"
    assert "replicated" in topics(addresses)

    three_brokers.restart("kafka-2")
    assert states(three_brokers)["kafka-2"] == "up"


def test_servers_end_with_the_process_they_are_bound_to(tmp_path: Path, local_stack: LocalStack) -> None:
    script = (
        "import os, sys; from pathlib import Path; from pipeline.stack import LocalStack\n"
        f"stack = LocalStack(Path({str(tmp_path)!r}), jars=Path({str(JARS)!r}), bound_to=os.getpid())\n"
        "stack.up(); os.kill(os.getpid(), 9)"
    )

    ended = subprocess.run([sys.executable, "-c", script], check=False, timeout=120)

    assert ended.returncode == -signal.SIGKILL
    bound = LocalStack(tmp_path).status()
    assert len(bound) == 2
    alive = [psutil.Process(server.pid) for server in bound if psutil.pid_exists(server.pid)]
    assert psutil.wait_procs(alive, timeout=30)[1] == []


def test_the_commands_see_the_stack(local_stack: LocalStack, stack: StackAddresses) -> None:
    command = ["--dir", str(local_stack.directory)]

    up = CliRunner().invoke(app, ["up", *command])
    status = CliRunner().invoke(app, ["status", *command])
    logs = CliRunner().invoke(app, ["logs", "elasticsearch", "-n", "1", *command])

    assert up.exit_code == status.exit_code == logs.exit_code == 0
    assert "was up already" in up.stdout
    assert stack.elasticsearch_url in up.stdout
    assert all(name in status.stdout for name in ("kafka-1", "elasticsearch"))
    assert "[o.e." in logs.stdout


def test_status_of_nothing_exits_with_1(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["status", "--dir", str(tmp_path)])

    assert result.exit_code == 1
    assert "trimodal stack up" in result.stdout
