"""What a client's own worries become in the log."""

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError

from pipeline.kafka import clients
from pipeline.settings import KafkaSettings


def test_an_outage_is_told_once_by_each_of_its_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    now = SimpleNamespace(s=0.0)
    monkeypatch.setattr(clients, "time", SimpleNamespace(monotonic=lambda: now.s))
    monkeypatch.setattr(clients, "_log", SimpleNamespace(warning=lambda _event, problem: told.append(problem)))
    report = clients.common(KafkaSettings(), "test")["error_cb"]
    for now.s in range(0, 60, 2):
        report(KafkaError(KafkaError._TRANSPORT, "refused"))
        report(KafkaError(KafkaError._ALL_BROKERS_DOWN, "nobody there"))
    assert [problem.split(" (")[0] for problem in told] == ["refused", "nobody there"]
    now.s += clients.QUIET_S + 1
    report(KafkaError(KafkaError._TRANSPORT, "refused anew"))
    assert told[2].startswith("refused anew")
