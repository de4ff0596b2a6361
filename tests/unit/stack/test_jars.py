from pathlib import Path

import pytest

from pipeline.stack.errors import DownloadFailed, StackError, ToolMissing
from pipeline.stack.jars import cached, fetch
from tests.unit.stack.conftest import Program

# Does what `mvn dependency:copy-dependencies -Djars=FOLDER` does, with three empty jars.
MAVEN = """
for argument; do case $argument in -Djars=*) jars=${argument#-Djars=};; esac; done
mkdir -p "$jars/kafka" "$jars/elasticsearch"
touch "$jars/kafka/kafka.jar" "$jars/elasticsearch/elasticsearch.jar" "$jars/elasticsearch/netty-common.jar"
"""


def test_a_complete_set_is_laid_out_and_cached(program: Program, tmp_path: Path) -> None:
    program("mvn", MAVEN)
    root = tmp_path / "jars"
    assert cached(root) is None

    jars = fetch(root, str(program("java", "exit 0")))

    assert cached(root) == jars
    assert [jar.name for jar in jars.kafka.iterdir()] == ["kafka.jar"]
    assert [jar.name for jar in jars.elasticsearch.iterdir()] == ["elasticsearch.jar"]
    module = jars.elasticsearch_home / "modules" / "transport-netty4"
    assert sorted(file.name for file in module.iterdir()) == ["netty-common.jar", "plugin-descriptor.properties"]


def test_what_is_cached_needs_no_maven(program: Program, tmp_path: Path) -> None:
    mvn = program("mvn", MAVEN)
    java = str(program("java", "exit 0"))
    jars = fetch(tmp_path / "jars", java)
    mvn.unlink()

    assert fetch(tmp_path / "jars", java) == jars


def test_a_failed_download_shows_mavens_errors_and_leaves_nothing(program: Program, tmp_path: Path) -> None:
    program("mvn", "echo '[INFO] Downloading'; echo '[ERROR] no route to the repository'; exit 1")

    with pytest.raises(DownloadFailed, match=r"proxy or mirror.*\n\[ERROR\] no route to the repository$"):
        fetch(tmp_path / "jars", "java")

    assert cached(tmp_path / "jars") is None


def test_a_java_without_a_compiler_is_an_error_with_the_package(program: Program, tmp_path: Path) -> None:
    program("mvn", MAVEN)
    java = program("java", "echo 'Module jdk.compiler not found'; exit 1")

    with pytest.raises(StackError, match=r"(?s)KafkaNode\.java.*openjdk-17-jdk-headless.*jdk\.compiler not found"):
        fetch(tmp_path / "jars", str(java))

    assert cached(tmp_path / "jars") is None


@pytest.mark.usefixtures("empty_path")
def test_without_maven_the_error_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="Maven"):
        fetch(tmp_path / "jars", "java")
