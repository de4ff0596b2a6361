"""What tests of the statistics need around them: topics of their own, the program as a process, what it publishes."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from confluent_kafka.admin import AdminClient

from pipeline.events.codec import Codec
from pipeline.events.records import Prediction, Statistic
from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.contract import Output
from pipeline.kafka.offsets import OffsetQueries
from pipeline.kafka.producer import RecordProducer
from pipeline.kafka.reader import TopicReader
from pipeline.settings import KafkaSettings, Settings, StatisticsSettings, TopicSettings
from pipeline.stack.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 60.0
SESSION_MS = 6_000
CODEC = Codec()


class StatisticsPlace:
    """Topics of its own, and programs that count on them."""

    def __init__(self, bootstrap_servers: str, logs: Path) -> None:
        name = uuid.uuid4().hex[:8]
        self._logs = logs
        self._port = 0
        self.settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=bootstrap_servers, group=name, session_timeout_ms=SESSION_MS),
            topics=TopicSettings(prefix=f"{name}.", partitions=2),
            statistics=StatisticsSettings(publish_ms=100),
        )
        TopicAdmin(self.settings.kafka, self.settings.topics).create()

    def delete(self) -> None:
        """Deletes the topics."""
        TopicAdmin(self.settings.kafka, self.settings.topics).delete()

    @contextmanager
    def running(self, replica: str = "one") -> Iterator["subprocess.Popen[bytes]"]:
        """Runs `trimodal run statistics`, ends it with SIGTERM and expects exit code 0; a killed one stays killed."""
        process = self.start(replica)
        try:
            yield process
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.wait(WAIT_S) == 0, self.log(replica)
        finally:
            process.kill()
            process.wait()

    def start(self, replica: str) -> "subprocess.Popen[bytes]":
        """Starts the program, each time on another port; its log goes to a file."""
        (port,) = free_ports(1)
        if replica == "one":
            self._port = port
        with (self._logs / f"{replica}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "pipeline.cli", "run", "statistics", "--replica", replica],
                cwd=ROOT,
                env={**self.environment(), "TRIMODAL_STATISTICS__WEB_PORT": str(port)},
                stderr=log,
            )

    def environment(self) -> dict[str, str]:
        """The settings, for a process of its own."""
        kafka, topics, statistics = self.settings.kafka, self.settings.topics, self.settings.statistics
        return {
            **os.environ,
            "TRIMODAL_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "TRIMODAL_KAFKA__GROUP": kafka.group,
            "TRIMODAL_KAFKA__SESSION_TIMEOUT_MS": str(kafka.session_timeout_ms),
            "TRIMODAL_TOPICS__PREFIX": topics.prefix,
            "TRIMODAL_STATISTICS__PUBLISH_MS": str(statistics.publish_ms),
        }

    def log(self, replica: str = "one") -> str:
        """Returns what a program has logged."""
        return (self._logs / f"{replica}.log").read_text()

    def publish(self, predictions: Iterable[Prediction | bytes]) -> None:
        """Publishes predictions under their keys, and bytes as they are."""
        with RecordProducer(self.settings.kafka, "test", 1 << 20) as producer:
            for record in predictions:
                value = CODEC.encode_prediction(record) if isinstance(record, Prediction) else record
                key = record.key.encode() if isinstance(record, Prediction) else b"?"
                producer.publish(Output(self.settings.topics.predictions, key, value))

    def published(self) -> list[Statistic]:
        """Returns the newest statistic of each key, oldest window first."""
        queries = OffsetQueries(self.settings.kafka, "test")
        places = queries.partitions([self.settings.topics.statistics])
        begins, ends = queries.begins(places), queries.ends(places)
        newest: dict[bytes, Statistic] = {}
        with TopicReader(self.settings.kafka, "test") as reader:
            for batch in reader.read({where: range(begins[where], ends[where]) for where in places}):
                newest |= {message.key or b"": CODEC.decode_statistic(message.value or b"") for message in batch}
        return sorted(newest.values(), key=lambda one: (one.window_start_ms, one.window_end_ms, one.label))

    def counts(self, length_ms: int) -> dict[tuple[int, str, str], int]:
        """Returns (window start, label, modalities) → count of the windows of a length."""
        return {
            (one.window_start_ms, one.label, "".join(modality.name[0] for modality in one.modalities)): one.count
            for one in self.published()
            if one.window_end_ms - one.window_start_ms == length_ms
        }

    def consumed(self, *arguments: str) -> list[Any]:
        """Returns what `trimodal consume statistics` prints."""
        command = [sys.executable, "-m", "pipeline.cli", "consume", "statistics", "--from-beginning", *arguments]
        printed = subprocess.run(
            command, cwd=ROOT, env=self.environment(), capture_output=True, text=True, timeout=WAIT_S, check=True
        )
        return [json.loads(line) for line in printed.stdout.splitlines()]

    def await_log(self, event: str, times: int, replica: str = "one") -> None:
        """Waits until a program has logged an event so many times."""
        deadline = time.monotonic() + WAIT_S
        while self.log(replica).count(event) < times:
            assert time.monotonic() < deadline, self.log(replica)

    def remake_predictions(self) -> None:
        """Deletes the topic of predictions and makes an empty one."""
        name = self.settings.topics.predictions
        admin = AdminClient({"bootstrap.servers": self.settings.kafka.bootstrap_servers})
        admin.delete_topics([name])[name].result(WAIT_S)
        deadline = time.monotonic() + WAIT_S
        while name in admin.list_topics(timeout=WAIT_S).topics:
            assert time.monotonic() < deadline
        TopicAdmin(self.settings.kafka, self.settings.topics).create()

    def view(self, query: str = "") -> Any:
        """Returns what the web view of replica "one" shows."""
        with urlopen(f"http://127.0.0.1:{self._port}/statistics{query}", timeout=10) as response:
            return json.load(response)


def await_equal(get: Callable[[], Any], wanted: Any) -> None:
    """Waits until it is as wanted; fails with what it was last."""
    deadline = time.monotonic() + WAIT_S
    while (got := get()) != wanted:
        assert time.monotonic() < deadline, got
