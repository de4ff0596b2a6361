"""What the demo says when there is nothing to stop, when another is at work, and when its record is damaged."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.cli.demo.programs import RECORD, ProgramFailed, Programs
from pipeline.stack import only_one


def demo(directory: Path) -> str:
    return CliRunner().invoke(app, ["demo", "--stop", "--dir", str(directory)]).output


def test_nothing_to_stop(tmp_path: Path) -> None:
    assert "Nothing was up." in demo(tmp_path)


def test_two_demos_do_not_share_a_directory(tmp_path: Path) -> None:
    with only_one(tmp_path / "demo.lock", wait=False):
        result = CliRunner().invoke(app, ["demo", "--stop", "--dir", str(tmp_path)])
    assert result.exit_code != 0
    assert "another `trimodal` command is at work" in str(result.exception)


@pytest.mark.parametrize("text", ["{", "[1]", '[{"name": "demo-a"}]'])
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / RECORD).write_text(text, encoding="utf-8")
    with pytest.raises(ProgramFailed, match=f"{RECORD} is damaged"):
        Programs(tmp_path, {}).adopt()
