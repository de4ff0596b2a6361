from pathlib import Path

import pytest

from pipeline.stack.errors import StackError
from pipeline.stack.jars import Jars
from pipeline.stack.layout import Layout
from pipeline.stack.servers import servers_of

ONE = Layout("cluster", (9092,), (19_092,), 9200, 9300)
THREE = Layout("cluster", (9092, 9093, 9094), (19_092, 19_093, 19_094), 9200, 9300)
JARS = Jars(Path("/jars"))


def properties(directory: Path, layout: Layout, node: int) -> dict[str, str]:
    servers_of(directory, layout)[node - 1].configure(JARS)
    lines = (directory / f"kafka-{node}" / "server.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_one_broker_has_no_replicas(tmp_path: Path) -> None:
    config = properties(tmp_path, ONE, 1)

    assert config["controller.quorum.voters"] == "1@127.0.0.1:19092"
    assert config["transaction.state.log.replication.factor"] == config["default.replication.factor"] == "1"
    assert config["transaction.state.log.min.isr"] == config["min.insync.replicas"] == "1"


def test_three_brokers_keep_three_replicas_two_of_them_in_sync(tmp_path: Path) -> None:
    config = properties(tmp_path, THREE, 2)

    assert config["node.id"] == "2"
    assert config["listeners"] == "PLAINTEXT://127.0.0.1:9093,CONTROLLER://127.0.0.1:19093"
    assert config["controller.quorum.voters"] == "1@127.0.0.1:19092,2@127.0.0.1:19093,3@127.0.0.1:19094"
    assert config["offsets.topic.replication.factor"] == config["default.replication.factor"] == "3"
    assert config["transaction.state.log.min.isr"] == config["min.insync.replicas"] == "2"


def test_settings_of_ones_own_come_after_ours(tmp_path: Path) -> None:
    (tmp_path / "kafka.properties").write_text("offset.metadata.max.bytes=1024\nmin.insync.replicas=1\n")
    config = properties(tmp_path, THREE, 1)

    assert config["offset.metadata.max.bytes"] == "1024"
    assert config["min.insync.replicas"] == "1"


def test_a_directory_with_any_letters_is_escaped_as_java_properties_are(tmp_path: Path) -> None:
    folder = tmp_path / "a ü \\ 😀"

    assert properties(folder, ONE, 1)["log.dirs"] == f"{tmp_path}/a \\u00fc \\\\ \\ud83d\\ude00/kafka-1/data"


def test_elasticsearchs_file_has_the_ports_and_quoted_folders(tmp_path: Path) -> None:
    servers_of(tmp_path, ONE)[-1].configure(JARS)

    lines = (tmp_path / "elasticsearch" / "config" / "elasticsearch.yml").read_text().splitlines()

    assert f'path.data: "{tmp_path}/elasticsearch/data"' in lines
    assert "http.port: 9200" in lines
    assert "cluster.routing.allocation.disk.threshold_enabled: false" in lines


@pytest.mark.parametrize(("layout", "heap"), [(ONE, "-Xmx512m"), (THREE, "-Xmx384m")])
def test_heaps_are_a_laptops(tmp_path: Path, layout: Layout, heap: str) -> None:
    kafka, *_, elasticsearch = servers_of(tmp_path, layout)

    assert heap in kafka.command("java", JARS, ())
    assert {"-Xms512m", "-Xmx512m"} <= set(elasticsearch.command("java", JARS, ()))


def test_an_unknown_placeholder_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elasticsearch").mkdir()
    (tmp_path / "elasticsearch" / "elasticsearch.yml").write_text("http.port: ${prot}\n")
    monkeypatch.setattr("pipeline.stack.servers.DEPLOY", tmp_path)

    with pytest.raises(StackError, match=r"elasticsearch\.yml has a placeholder.*prot"):
        servers_of(tmp_path, ONE)[-1].configure(JARS)
