"""Figures: one JSON object a measurement, and the machine they were taken on."""

import json
import os
import platform
import resource
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def finished(triples: int, seconds: float) -> None:
    """Prints what a loop has measured of itself, for the process that started it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "triples_per_s": round(triples / seconds),
        "cpu_s_per_1000": round((usage.ru_utime + usage.ru_stime) / triples * 1_000, 4),
        "peak_mb": usage.ru_maxrss // 1_024,
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def machine() -> Mapping[str, str | int | None]:
    """Returns what figures are worthless without."""
    return {
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("confluent-kafka", "fastavro", "torch")},
    }


def keep(name: str, record: Mapping[str, object]) -> Path:
    """Appends a measurement to the results of its benchmark; returns the file."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.jsonl"
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(record) + "\n")
    return file
