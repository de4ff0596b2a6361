"""Whatever happens to a record, the log never shows what is in it."""

import io
import sys

import pytest

from pipeline.events.records import Modality
from pipeline.settings import MonitoringSettings
from pipeline.telemetry import logs
from tests.support.events import StubPredictor, encoded
from tests.support.fusion import SETTINGS, accounted, expected, replica, run_until
from tests.support.memory import Ending, MemoryBroker

SECRET = b"my-secret-payload"
NOW_MS = 1_000_000


def test_no_payload_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(MonitoringSettings(log_level="DEBUG", log_format="json"), program="test")
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
    text = stream.getvalue()
    assert "going back to what is committed" in text
    assert SECRET.decode() not in text
    assert SECRET.hex() not in text
