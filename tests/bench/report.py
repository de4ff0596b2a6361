"""Figures: one JSON object a measurement, the machine they were taken on, and the report made of them."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results"


def machine() -> Mapping[str, str | int | None]:
    """Returns what figures are worthless without."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("confluent-kafka", "fastavro", "numpy", "torch")},
    }


def keep(name: str, figures: Mapping[str, object]) -> Path:
    """Appends a measurement to the results of its benchmark, with when, where and how; returns the file."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.jsonl"
    record = {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "command": " ".join(["python", "-m", "tests.bench", *sys.argv[1:]]),
        "machine": machine(),
        **figures,
    }
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(record) + "\n")
    return file


def newest(name: str, **wanted: object) -> dict[str, Any] | None:
    """Returns the newest measurement of a benchmark that has these values, if there is one."""
    file = RESULTS / f"{name}.jsonl"
    if not file.is_file():
        return None
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    fitting = [record for record in records if all(record.get(key) == value for key, value in wanted.items())]
    return fitting[-1] if fitting else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"
