"""What `trimodal produce` refuses before it asks a broker, and how it reads times."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli import produce
from pipeline.cli.produce import app
from producers.errors import InvalidInput


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, InvalidInput), result.output
    assert result.exit_code == 1
    return str(result.exception)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-01-31T12:00:00Z", 1_769_860_800_000),
        ("2026-01-31T12:00:00", 1_769_860_800_000),
        ("2026-01-31T13:00:00.250+01:00", 1_769_860_800_250),
    ],
)
def test_event_times_are_utc_unless_they_say_otherwise(text: str, ms: int) -> None:
    assert produce._moment(text) == ms


def test_a_time_that_is_none_is_refused(tmp_path: Path) -> None:
    assert "'noon' is not ISO 8601" in refused("speech", "--key", "k", "--event-time", "noon", str(tmp_path / "a"))


def test_bare_numbers_need_a_rate_and_names(tmp_path: Path) -> None:
    file = tmp_path / "s.npy"
    np.save(file, np.zeros((4, 2)))
    assert "--sample-rate and --channels" in refused("sensor", "--key", "k", str(file), "--sample-rate", "5")


def test_a_table_names_its_own_channels(tmp_path: Path) -> None:
    message = refused("sensor", "--key", "k", str(tmp_path / "s.csv"), "--channels", "x")
    assert "--channels is for .npy files" in message


def test_a_bad_key_or_file_is_refused_without_a_broker(tmp_path: Path) -> None:
    file = tmp_path / "s.csv"
    file.write_text("x,y\n1,2\n")
    assert "give 1 to 256" in refused("sensor", "--key", "", str(file), "--sample-rate", "5")
    assert "cannot be read" in refused("image", "--key", "k", str(tmp_path / "none.png"))


def test_a_run_that_makes_keys_too_long_is_refused() -> None:
    assert "bytes: give 1 to 256" in refused("digits", "--count", "5", "--run", "r" * 250)


@pytest.mark.parametrize("option", [["--missing", "1.5"], ["--count", "0"], ["--rate", "-1"], ["--garbage", "-1"]])
def test_options_out_of_range_are_usage_errors(option: list[str]) -> None:
    assert CliRunner().invoke(app, ["digits", *option]).exit_code == 2
