"""A world of topics for one test on the real Kafka: settings, publishing, processes, audits."""

import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from pipeline.events.records import Modality
from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.contract import Output
from pipeline.kafka.groups import members
from pipeline.kafka.producer import RecordProducer
from pipeline.settings import Settings, load
from tests.support.events import encoded

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 90.0


def await_true(what: str, happened: Callable[[], bool], within_s: float = WAIT_S) -> None:
    """Waits until something has happened."""
    deadline = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline, f"not in {within_s} s: {what}"


class World:
    """Topics of its own, and the processes that work on them; all of them end with the `with`."""

    def __init__(
        self,
        bootstrap_servers: str,
        logs: Path,
        partitions: int = 3,
        kafka: Mapping[str, object] | None = None,
        **join: int,
    ) -> None:
        self.name = uuid.uuid4().hex[:8]
        timing = {"window_ms": 3_000, "out_of_order_ms": 500, "idle_ms": 500, **join}
        self.sections: dict[str, dict[str, object]] = {
            "kafka": {
                "bootstrap_servers": bootstrap_servers,
                "group": self.name,
                "session_timeout_ms": 6_000,
                **(kafka or {}),
            },
            "topics": {"prefix": f"{self.name}.", "partitions": partitions},
            "join": dict(timing),
            "serving": {"device": "cpu", "workers": 1},
        }
        self.settings: Settings = load(None, self.sections).settings
        self._logs = logs
        self.processes: list[subprocess.Popen[str]] = []
        TopicAdmin(self.settings.kafka, self.settings.topics).create()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def start(self, module: str, replica: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Starts `python -m MODULE` as a replica of this world's group; its log goes to a file of its name."""
        with (self._logs / f"{self.name}-{replica}.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env={**self._variables(), "TRIMODAL_KAFKA__REPLICA": replica, **environment},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.processes.append(process)
        return process

    def run(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `python -m MODULE` in this world to its end."""
        command = [sys.executable, "-m", module, *arguments]
        environment = self._variables()
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=WAIT_S, check=False
        )

    def log(self, replica: str) -> str:
        """Returns what a replica has logged."""
        return (self._logs / f"{self.name}-{replica}.log").read_text()

    def times_begun(self, replica: str) -> int:
        """Returns how often a replica has begun: SIGTERM ends it in good order then, not while Python is importing."""
        return self.log(replica).count("metrics_port")

    def await_begun(self, replica: str, times: int) -> None:
        """Waits until a replica has begun so often."""
        await_true(f"{replica} has begun {times} times", lambda: self.times_begun(replica) == times)

    def logs(self) -> list[Path]:
        """Returns the logs of all replicas."""
        return sorted(self._logs.glob(f"{self.name}-*.log"))

    def await_empty_group(self) -> None:
        """Waits until the sessions of stopped static members have ended."""
        deadline = time.monotonic() + WAIT_S
        while members(self.settings.kafka, self.name):
            assert time.monotonic() < deadline

    def _variables(self) -> dict[str, str]:
        variables = {
            f"TRIMODAL_{section}__{name}".upper(): json.dumps(value) if isinstance(value, dict) else str(value)
            for section, values in self.sections.items()
            for name, value in values.items()
        }
        return {**os.environ, **variables}

    def replica(self, name: str, **environment: str) -> subprocess.Popen[str]:
        """Starts a fusion replica with a stand-in model."""
        return self.start("tests.support.replica", name, **environment)

    def publish(
        self, triples: int, *, missing: float = 0.0, seed: int = 1, extra: Mapping[Modality, list[bytes]] | None = None
    ) -> int:
        """Publishes triples, each event missing with a probability, and extra values; returns the records."""
        rng = random.Random(seed)
        records = 0
        with self.publishing() as send:
            for number in range(triples):
                now_ms = time.time_ns() // 1_000_000
                for modality in Modality:
                    if rng.random() >= missing:
                        send(modality, f"{seed}-{number}".encode(), encoded(modality, now_ms))
                        records += 1
            for modality, values in (extra or {}).items():
                for number, value in enumerate(values):
                    send(modality, f"extra-{seed}-{number}".encode(), value)
                    records += 1
        return records

    @contextmanager
    def publishing(self) -> Iterator[Callable[[Modality, bytes, bytes], None]]:
        """Gives a function that sends one record."""
        topics = self.settings.topics
        with RecordProducer(self.settings.kafka, "test", 8 << 20) as producer:
            yield lambda modality, key, value: producer.publish(Output(topics.source(modality), key, value))
