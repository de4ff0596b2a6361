"""How a benchmark's processes are measured."""

import sys
from pathlib import Path

import pytest

from tests.bench import programs
from tests.bench.programs import Program, _Process, peak_mb, processor_s

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


SPIN = "import sys, time\nwhile time.process_time() < 0.5: pass\nprint('done', flush=True)\nsys.stdin.read()"
BUSY = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {SPIN!r}], stdin=subprocess.PIPE)  # it ends with this process
child.wait()
"""


def test_the_time_of_what_a_process_has_started_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "LOGS", tmp_path)
    (tmp_path / "busy.py").write_text(BUSY)
    with _Process(Program("busy", [sys.executable, str(tmp_path / "busy.py")]), {}, 0) as process:
        while not process.out.read_text():
            assert not process.has_ended()
        alone_s = processor_s(process._process.pid)
        assert process.end() > alone_s + 0.4  # the kernel counts in hundredths
    assert processor_s(process._process.pid) == 0
