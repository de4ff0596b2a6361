"""The watchdog: quiet when calls come back, fatal when one does not."""

import json
import subprocess
import sys
import threading

from pipeline.telemetry.watchdog import EXIT_CODE, Watchdog


def test_a_call_that_comes_back_is_left_alone() -> None:
    expired = threading.Event()
    watchdog = Watchdog(0.05, lambda _doing, _limit: expired.set())
    for _ in range(3):
        with watchdog.watching("something quick"):
            pass
    assert not expired.wait(0.2)
    watchdog.close()


def test_a_call_that_does_not_come_back_is_reported() -> None:
    expired = threading.Event()
    reported: list[tuple[str, float]] = []

    def note(doing: str, limit_s: float) -> None:
        reported.append((doing, limit_s))
        expired.set()

    watchdog = Watchdog(0.05, note)
    with watchdog.watching("sending offsets"):
        assert expired.wait(10)
    watchdog.close()
    assert reported == [("sending offsets", 0.05)]


HANGING = """
import threading
from pipeline.settings import MonitoringSettings
from pipeline.telemetry import logs
from pipeline.telemetry.watchdog import Watchdog
logs.configure(MonitoringSettings())
with Watchdog(0.2).watching("committing"):
    threading.Event().wait()
"""


def test_the_process_ends_with_its_stacks() -> None:
    process = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == EXIT_CODE
    said, stacks = process.stderr.split("\n", 1)
    assert json.loads(said) | {"doing": "committing", "level": "critical"} == json.loads(said)
    assert 'File "<string>", line 8 in <module>' in stacks
