"""How a benchmark's processes are measured."""

from pathlib import Path

import pytest

from tests.bench import programs
from tests.bench.programs import Program, _Process, peak_mb

LARGE_MB = 200


def test_a_process_is_not_as_large_as_who_started_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "LOGS", tmp_path)
    large = b"x" * (LARGE_MB << 20)
    with _Process(Program("sleep", ["sleep", "30"]), {}, 0) as process:
        while not process.peak_mb:
            assert not process.has_ended()
        assert 0 < process.peak_mb < LARGE_MB < peak_mb("self")
    assert process.has_ended()
    assert peak_mb(process._process.pid) == 0
    del large
