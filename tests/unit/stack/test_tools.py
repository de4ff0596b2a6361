import sys
from pathlib import Path

import pytest

from pipeline.stack.errors import StackError, ToolMissing
from pipeline.stack.tools import install_hint, java, maven, run_tool
from tests.unit.stack.conftest import JAVA_17, Program


def says(line: str) -> str:
    return f"echo '{line}' >&2"


@pytest.mark.parametrize("line", [JAVA_17, 'java version "21"', 'openjdk version "25-ea" 2025-09-16'])
def test_java_17_and_later_are_taken(program: Program, line: str) -> None:
    path = program("java", says(line))

    assert java() == str(path)


@pytest.mark.parametrize(
    ("line", "version"), [('openjdk version "1.8.0_402"', "8"), ('openjdk version "11.0.2" 2019-01-15', "11")]
)
def test_an_older_java_is_named_with_what_to_install(program: Program, line: str, version: str) -> None:
    program("java", says(line))

    with pytest.raises(ToolMissing, match=f"is Java {version}, the servers need 17 or later: .*install"):
        java()


def test_java_home_goes_before_the_path(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = program("java", says(JAVA_17))
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    path.rename(home / "bin" / "java")
    program("java", says('openjdk version "11.0.2"'))
    monkeypatch.setenv("JAVA_HOME", str(home))

    assert java() == str(home / "bin" / "java")


def test_a_wrong_java_home_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")

    with pytest.raises(ToolMissing, match="JAVA_HOME is /nowhere"):
        java()


def test_the_placeholder_that_macos_has_for_java_is_no_java(program: Program) -> None:
    program("java", says("The operation could not be completed. Unable to locate a Java Runtime.") + "; exit 1")

    with pytest.raises(ToolMissing, match=r"does not run .*Unable to locate"):
        java()


@pytest.mark.usefixtures("empty_path")
def test_what_is_missing_comes_with_the_command_that_installs_it() -> None:
    with pytest.raises(ToolMissing, match=r"Java is not on the PATH: .*maven"):
        java()
    with pytest.raises(ToolMissing, match=r"Maven \(mvn\) is not on the PATH.*maven"):
        maven()


@pytest.mark.parametrize(
    ("tool", "command"), [("apt-get", "apt install openjdk-17-jre-headless maven"), ("dnf", "dnf install")]
)
@pytest.mark.usefixtures("empty_path")
def test_the_hint_is_of_this_systems_installer(
    tool: str, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / tool).touch(mode=0o755)
    monkeypatch.setattr(sys, "platform", "linux")

    assert install_hint().startswith(command)


def test_the_hint_on_macos_is_brew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    assert install_hint() == "brew install openjdk@17 maven"


def test_a_tool_that_takes_too_long_is_ended(program: Program) -> None:
    slow = program("slow", "exec sleep 60")

    with pytest.raises(StackError, match="not done after 0 s"):
        run_tool([str(slow)], timeout_s=0.2)
