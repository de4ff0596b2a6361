"""The table of results that a session ends with; a plugin, for pytest-xdist's controller loads no conftest in here."""

import json
from pathlib import Path
from typing import Any

import pytest

RESULTS = Path(__file__).parent / "results"
_before: dict[Path, int] = {}


def pytest_sessionstart() -> None:
    """Notes how long the results of earlier sessions are."""
    _before.update({file: len(file.read_text()) for file in RESULTS.glob("*.jsonl")})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what this session's scenarios have found."""
    lines = [
        json.loads(line)
        for file in sorted(RESULTS.glob("*.jsonl"))
        for line in file.read_text()[_before.get(file, 0) :].splitlines()
    ]
    if not lines:
        return
    terminalreporter.section("fault scenarios")
    terminalreporter.line(f"{'scenario':<52}{'records':>9}{'faults':>8}{'lost':>6}{'doubled':>9}{'recovery':>11}")
    for line in lines:
        terminalreporter.line(_row(line))


def _row(line: dict[str, Any]) -> str:
    figures = f"{line['records']:>9,}{len(line['faults']):>8}{line['lost']:>6}{line['doubled']:>9}"
    return f"{line['scenario']:<52}{figures}{line['recovery_s']:>9.1f} s"
