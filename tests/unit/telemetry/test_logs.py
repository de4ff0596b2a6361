"""Logs: one line an event, JSON or readable, whoever speaks; never payloads."""

import io
import json
import logging
import subprocess
import sys
import warnings
from typing import Any

import pytest

from pipeline.settings import KafkaSettings, MonitoringSettings
from pipeline.telemetry import logs

DYING = """
import threading
from pipeline.settings import MonitoringSettings
from pipeline.telemetry import logs

logs.configure(MonitoringSettings(log_format="{log_format}"), program="test", replica="a")

def fail(payload):
    raise ValueError("it cannot be read")

thread = threading.Thread(target=fail, args=("PAY" + "LOAD",), name="decode-1")
thread.start()
thread.join()
fail("PAY" + "LOAD")
"""


def configured(monkeypatch: pytest.MonkeyPatch, log_format: str = "json", level: str = "INFO") -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(MonitoringSettings.model_validate({"log_format": log_format, "log_level": level}), program="test")
    return stream


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def died(log_format: str) -> str:
    process = subprocess.run(
        [sys.executable, "-c", DYING.format(log_format=log_format)], capture_output=True, text=True, check=False
    )
    assert process.returncode == 1
    assert process.stdout == ""
    return process.stderr


def test_an_event_is_one_line_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = configured(monkeypatch)
    logs.logger("here").info("lanes assigned", lanes=[0, 1], said="two\nlines")
    (line,) = lines(stream.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "lanes assigned",
        "lanes": [0, 1],
        "said": "two\nlines",
        "level": "info",
        "module": "here",
        "program": "test",
    }


def test_less_than_the_level_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = configured(monkeypatch, level="WARNING")
    logs.logger("here").info("no")
    logs.logger("here").warning("yes")
    assert [line["event"] for line in lines(stream.getvalue())] == ["yes"]


def test_a_terminal_gets_what_people_read(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = configured(monkeypatch, log_format="console")
    logs.logger("here").info("lanes assigned", lanes=[0, 1])
    assert "lanes assigned" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_an_unexpected_error_is_one_line_of_json_without_local_variables() -> None:
    text = died("json")
    in_thread, in_main = lines(text)
    assert (in_thread["level"], in_thread["thread"]) == ("critical", "decode-1")
    for line in (in_thread, in_main):
        assert line["exception"].endswith("ValueError: it cannot be read")
        assert (line["program"], line["replica"]) == ("test", "a")
    assert "PAYLOAD" not in text


def test_on_a_terminal_too_an_error_comes_without_local_variables() -> None:
    text = died("console")
    assert text.count("ValueError: it cannot be read") == 2
    assert "PAYLOAD" not in text


def test_libraries_and_warnings_speak_in_our_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = configured(monkeypatch)
    logging.getLogger("urllib3.connectionpool").warning("retrying %s", "a\nb")
    logging.getLogger("urllib3.connectionpool").info("chatter")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old ways", stacklevel=1)
    told, warned = lines(stream.getvalue())
    assert (told["event"], told["module"], told["level"]) == ("retrying a b", "urllib3.connectionpool", "warning")
    assert "old ways" in warned["event"]


def test_librdkafkas_own_lines_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.kafka.subscriber import KafkaSubscriber  # noqa: PLC0415

    stream = configured(monkeypatch)
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1", client_options={"linger.ms": "7"}, call_timeout_ms=1_000)
    subscriber = KafkaSubscriber(settings, "test", "predictions")
    try:
        for _ in range(50):
            subscriber.poll(1, 0.1)
            if "kafka client" in stream.getvalue():
                break
    finally:
        subscriber.close()
    told = [line for line in lines(stream.getvalue()) if line["module"] == "librdkafka"]
    assert len(told) == 1, "what the error callback says is not said twice"
    assert told[0]["event"].startswith("CONFWARN [trimodal-subscriber-")
    assert "is a producer property" in told[0]["event"]


def test_a_kind_of_line_does_not_come_over_and_over() -> None:
    from pipeline.kafka.clients import QUIET_S, _NotOverAndOver  # noqa: PLC0415

    def record(kind: str, at_s: float) -> logging.LogRecord:
        made = logging.LogRecord("librdkafka", logging.WARNING, "", 0, "%s [%s] %s", (kind, "client", "text"), None)
        made.created = at_s
        return made

    news = _NotOverAndOver()
    said = [("A", 0), ("A", 1), ("B", 2), ("A", QUIET_S), ("FAIL", 3)]
    heard = [news.filter(record(kind, at_s)) for kind, at_s in said]
    assert heard == [True, False, True, True, False]
