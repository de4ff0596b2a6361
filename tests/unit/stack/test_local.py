"""`LocalStack` with a Java that is a shell script: what it does when servers fail to come up."""

import json
import shutil
from collections import namedtuple
from pathlib import Path

import psutil
import pytest

from pipeline.stack import LocalStack, StackError, Step
from pipeline.stack.jars import Jars, cached
from tests.unit.stack.conftest import JAVA_17, Program

KAFKA_RUNS_ELASTICSEARCH = """
case "$*" in
  -version) echo '{java}' >&2 ;;
  *KafkaNode*) exec sleep 60 ;;
  *) {elasticsearch} ;;
esac
"""


def fake_java(program: Program, elasticsearch: str) -> None:
    program("java", KAFKA_RUNS_ELASTICSEARCH.format(java=JAVA_17, elasticsearch=elasticsearch))


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStack:
    monkeypatch.setattr("pipeline.stack.local.cached", lambda root: Jars(root / "complete"))
    return LocalStack(tmp_path / "stack")


def recorded_pids(stack: LocalStack) -> list[int]:
    return [process["pid"] for process in json.loads((stack.directory / "stack.json").read_text())["processes"]]


def assert_nothing_is_left(stack: LocalStack, pids: list[int]) -> None:
    assert pids
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)
    assert not (stack.directory / "stack.json").exists()
    assert stack.status() == ()


def test_when_one_server_dies_the_others_are_ended_and_its_log_is_shown(program: Program, stack: LocalStack) -> None:
    fake_java(program, "echo 'java.io.IOException: No space left on device'; exit 1")
    pids: list[int] = []

    def remember(step: Step) -> None:
        if step.name == "elasticsearch":
            pids.extend(recorded_pids(stack))

    with pytest.raises(StackError, match=r"(?s)elasticsearch ended.*the disk is full.*No space left on device"):
        stack.up(remember)

    assert_nothing_is_left(stack, pids)


def test_an_interrupt_halfway_leaves_nothing(program: Program, stack: LocalStack) -> None:
    fake_java(program, "exec sleep 60")
    pids: list[int] = []

    def interrupt(step: Step) -> None:
        if step.name == "elasticsearch":
            pids.extend(recorded_pids(stack))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stack.up(interrupt)

    assert_nothing_is_left(stack, pids)


def test_a_full_disk_is_refused_before_anything_starts(
    program: Program, stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_java(program, "exec sleep 60")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 2**40 - 2**28, 2**28))

    with pytest.raises(StackError, match="has 256 MB left, the servers need 512"):
        stack.up()

    assert not (stack.directory / "stack.json").exists()


def test_a_directory_that_cannot_be_written_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StackError, match=f"the stack in {tmp_path}/file/stack failed"):
        LocalStack(tmp_path / "file" / "stack").up()


@pytest.mark.parametrize("name", ["a:b", "a,b"])
def test_a_directory_that_java_would_split_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StackError, match="take as separators"):
        LocalStack(tmp_path / name).up()


def test_down_where_nothing_ever_was_does_nothing(tmp_path: Path) -> None:
    assert LocalStack(tmp_path / "none").down(wipe=True) == ()
    assert not (tmp_path / "none").exists()


def test_wipe_removes_the_stacks_own_folders_only(tmp_path: Path) -> None:
    for name in ("kafka-1/data", "kafka-3", "elasticsearch", "logs", "jars", "kafka-connect", "share"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "layout.json").touch()

    LocalStack(tmp_path).down(wipe=True)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["jars", "kafka-connect", "share", "stack.lock"]


def test_faults_on_what_does_not_run_are_errors(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path)

    for fault in (stack.kill, stack.pause, stack.resume):
        with pytest.raises(StackError, match="no server kafka-1 runs"):
            fault("kafka-1")
    with pytest.raises(StackError, match="has no stack"):
        stack.restart("kafka-1")


def test_the_jars_belong_to_the_files_of_deploy_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.stack.jars.DEPLOY", tmp_path)

    with pytest.raises(StackError, match=r"pom\.xml is missing.*pip install -e"):
        cached(tmp_path)
