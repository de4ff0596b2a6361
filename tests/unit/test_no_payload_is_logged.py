"""Whatever happens to a record, the log never shows what is in it."""

import io
import sys

import pytest

from pipeline.events.codec import Codec
from pipeline.events.records import Modality
from pipeline.search.bulk import Rejected
from pipeline.settings import MonitoringSettings
from pipeline.telemetry import logs
from tests.support.events import StubPredictor, encoded
from tests.support.fusion import SETTINGS, accounted, expected, replica, run_until
from tests.support.memory import Ending, MemoryBroker
from tests.support.predictions import a_prediction
from tests.unit.test_indexer import BUSY, World
from tests.unit.test_statistics import Run

SECRET = b"my-secret-payload"
NOW_MS = 1_000_000
PREDICTED = Codec().encode_prediction(a_prediction(1, label=SECRET.decode()))
PREVIEW = Rejected(f"failed to parse field [label]. Preview of field's value: '{SECRET.decode()}'")
"""What Elasticsearch says of a document shows some of it."""


def opened(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Returns what will be logged. No fixture: pytest sets stderr anew between a fixture and its test."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(MonitoringSettings(log_level="DEBUG", log_format="json"), program="test")
    return stream


def assert_silent_about_payloads(log: io.StringIO, *told: str) -> None:
    text = log.getvalue()
    for line in told:
        assert line in text
    assert SECRET.decode() not in text
    assert SECRET.hex() not in text


def test_fusion_logs_no_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(monkeypatch)
    broker = MemoryBroker(partitions=1)
    fusion = replica(broker, StubPredictor(lambda samples: any(sample.image is None for sample in samples)))
    speech = SETTINGS.topics.source(Modality.SPEECH)
    for value in (SECRET, encoded(Modality.SPEECH, NOW_MS) + SECRET, SECRET * 10**6):
        broker.publish(speech, b"broken", value)
    no_picture = encoded(Modality.IMAGE, NOW_MS).replace(b"PNG", SECRET)
    broker.publish(SETTINGS.topics.source(Modality.IMAGE), b"a", no_picture)
    for modality in (Modality.SPEECH, Modality.SENSOR):
        broker.publish(SETTINGS.topics.source(modality), b"a", encoded(modality, NOW_MS), headers=(("h", SECRET),))
    broker.endings.extend([Ending.ABORTED] * 2)
    run_until(lambda: accounted(broker) == expected(broker), fusion)
    fusion.crash()
    assert_silent_about_payloads(log, "going back to what is committed")


def test_the_indexer_logs_no_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(monkeypatch)
    world = World([SECRET, PREDICTED + SECRET, PREDICTED[:-1], PREDICTED], {"digit-1": [BUSY, PREVIEW]})
    world.run()
    assert [SECRET.decode() in letter.detail for letter in world.letters] == [False, False, False, True]
    assert_silent_about_payloads(log, "elasticsearch does not take documents", "documents rejected")


def test_statistics_log_no_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(monkeypatch)
    run = Run()
    run.receive(SECRET, PREDICTED + SECRET, *(PREDICTED[:length] for length in range(len(PREDICTED))))
    run.receive(a_prediction(1, label=SECRET.decode(), latency_ms=float("nan")))
    run.receive(a_prediction(2, label=SECRET.decode(), event_time_ms=2**62))
    run.step()
    assert_silent_about_payloads(log, "prediction skipped", "predictions not counted")
