"""The table of metrics: the same in code, in the documentation and in what is served."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import generate_latest

from pipeline.telemetry import metrics
from pipeline.telemetry.metrics import REGISTRY, TABLE

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"


def documented() -> list[str]:
    return [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `trimodal_")]


def rows() -> list[str]:
    """What docs/metrics.md must hold; copy it from the failing test's output."""
    return [
        f"| `{row.name}` | {row.kind} | {' '.join(f'`{label}`' for label in row.labels)} | {row.unit} | {row.meaning} |"
        for row in TABLE
    ]


def value(name: str, labels: Mapping[str, str] | None = None) -> float:
    return REGISTRY.get_sample_value(name, dict(labels or {})) or 0.0


def test_the_documentation_has_the_same_table() -> None:
    assert documented() == rows()


def test_what_is_served_is_in_the_table() -> None:
    served = {
        f"{family.name}_total" if family.type == "counter" else family.name: family.type
        for family in REGISTRY.collect()
        if family.name.startswith("trimodal_")
    }
    not_without_gpu = "trimodal_gpu_memory_bytes"
    assert served == {row.name: row.kind for row in TABLE if row.name != not_without_gpu}


def test_names_say_their_units() -> None:
    for row in TABLE:
        assert row.name.endswith("_total") == (row.kind == "counter"), row
        for unit in ("seconds", "bytes", "ratio"):
            if row.kind != "counter" and row.unit == unit:
                assert row.name.endswith(f"_{unit}"), row


def test_predictions_are_counted_by_their_inputs() -> None:
    before = [value("trimodal_predictions_total", {"inputs": inputs}) for inputs in "23"]
    fast = {"inputs": "3", "le": "0.005"}
    fast_before, counted_before = value("trimodal_latency_seconds_bucket", fast), latencies("2")
    metrics.note_predictions(np.array([3, 2, 3]))
    metrics.note_latencies(np.array([3, 2, 3]), np.array([4.0, 7_000.0, 6.0]))
    after = [value("trimodal_predictions_total", {"inputs": inputs}) for inputs in "23"]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 2]
    assert value("trimodal_latency_seconds_bucket", fast) == fast_before + 1
    assert latencies("2") == pytest.approx((counted_before[0] + 1, counted_before[1] + 7))


def latencies(inputs: str) -> tuple[float, float]:
    labels = {"inputs": inputs}
    return value("trimodal_latency_seconds_count", labels), value("trimodal_latency_seconds_sum", labels)


def test_dead_letters_are_outcomes() -> None:
    late, joined = {"reason": "LATE"}, {"topic": "speech", "outcome": "joined"}
    before = value("trimodal_dead_letters_total", late), value("trimodal_outcomes_total", joined)
    metrics.note_outcomes({("speech", "LATE"): 2, ("image", "LATE"): 1, ("speech", "joined"): 5})
    after = value("trimodal_dead_letters_total", late), value("trimodal_outcomes_total", joined)
    assert after == (before[0] + 3, before[1] + 5)


def test_the_gpu_is_asked_when_scraped() -> None:
    sizes = iter([{"used": 7}, {"used": 9}])
    collector = metrics.watch_gpu("cuda:9", lambda: next(sizes))
    try:
        assert b'trimodal_gpu_memory_bytes{device="cuda:9",kind="used"} 7.0' in generate_latest(REGISTRY)
        assert b'trimodal_gpu_memory_bytes{device="cuda:9",kind="used"} 9.0' in generate_latest(REGISTRY)
    finally:
        REGISTRY.unregister(collector)
