"""A fault scenario: faults under load, noted with their times, and the verdict of the audit as one line of results."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.events.records import Reason
from pipeline.join import offset_map
from pipeline.kafka.auditing import AuditReport, run_audit
from pipeline.kafka.errors import KafkaFailure
from pipeline.kafka.groups import assigned
from pipeline.kafka.offsets import OffsetQueries, Offsets
from tests.faults.load import Load, Shape
from tests.faults.table import RESULTS
from tests.support.replica import BUSY, OPEN
from tests.support.world import World

RECOVERY_S = 120.0
SETTLING_S = 180.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done, in seconds after the scenario began."""

    at_s: float
    what: str


@dataclass
class Result:
    """One line of the results. `recovery_s` is the slowest of its recoveries."""

    scenario: str
    records: int = 0
    lost: int = 0
    doubled: int = 0
    recovery_s: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    began_s: float = field(default_factory=time.monotonic, repr=False)

    def note(self, what: str) -> None:
        """Takes note of a fault."""
        self.faults.append(Fault(round(time.monotonic() - self.began_s, 1), what))

    def write(self, **more: object) -> None:
        """Appends the line to the results."""
        line = asdict(self) | more
        del line["began_s"]
        RESULTS.mkdir(exist_ok=True)
        with (RESULTS / f"{self.scenario}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


class Scenario(World):
    """A world in which faults happen."""

    def __init__(
        self,
        name: str,
        bootstrap_servers: str,
        logs: Path,
        partitions: int = 3,
        kafka: Mapping[str, object] | None = None,
        **join: int,
    ) -> None:
        super().__init__(bootstrap_servers, logs, partitions, kafka, **{"commit_min_ms": 20, **join})
        topics = self.settings.topics
        quick = self.settings.kafka.model_copy(update={"call_timeout_ms": 5_000})
        self._queries = OffsetQueries(quick, "faults")
        self._sources = self._queries.partitions(topics.sources)
        self._outputs = self._queries.partitions([topics.predictions, topics.dead_letters])
        self._result = Result(name)
        self._last_fault_s = self._result.began_s

    @contextmanager
    def load(self, triples_per_s: float, **shape: Any) -> Iterator[Load]:
        """Publishes while the block runs, beginning when it has been taken up; then everything is acknowledged.

        Args:
            triples_per_s: rate.
            shape: as `Shape` has it.
        """
        load = Load(self.settings.kafka, self.settings.topics, Shape(triples_per_s, **shape))
        load.start()
        try:
            self._await_progress(dict.fromkeys(self._sources, 1))
            yield load
        except BaseException:
            with suppress(KafkaFailure):  # what has gone wrong in the block is the news
                load.stop()
            raise
        load.stop()
        self._result.records += load.records

    def publish_some(self, triples: int, **options: Any) -> None:
        """Publishes triples at once; see `World.publish`."""
        self._result.records += self.publish(triples, **options)

    def count(self, records: int) -> None:
        """Counts records that a test has published by itself."""
        self._result.records += records

    def note(self, what: str) -> None:
        """Takes note of a fault."""
        self._last_fault_s = time.monotonic()
        self._result.note(what)

    @contextmanager
    def fault(self, what: str) -> Iterator[None]:
        """Injects a fault, under load, in its block, then waits for the recovery and takes its time.

        It is over when in every lane records that came after the fault are in a commit.
        """
        ends = self._ends()
        self.note(what)
        yield
        self._await_progress({where: end + 1 for where, end in ends.items()})
        self._recovered()

    @property
    def recovery_s(self) -> float:
        """The slowest recovery so far."""
        return self._result.recovery_s

    def await_assigned(self, **partitions: int) -> None:
        """Waits until each of these replicas has so many partitions and nobody else has any."""
        self._await_group(lambda found: found == partitions, f"{partitions}")

    def await_members(self, *replicas: str) -> None:
        """Waits until these replicas share the partitions."""
        self._await_group(lambda found: all(found.get(name) for name in replicas), f"{replicas}")

    @property
    def holds_readers(self) -> bool:
        """Whether a transaction is open that has outputs: what comes after it is not read."""
        return self._queries.ends(self._outputs) != self._queries.ends(self._outputs, written=True)

    def await_free_readers(self) -> float:
        """Waits until no transaction with outputs is open; returns the seconds since the last fault."""
        deadline = time.monotonic() + RECOVERY_S
        while self.holds_readers:
            assert time.monotonic() < deadline, f"a transaction is still open after {RECOVERY_S} s"
        self._recovered()
        return time.monotonic() - self._last_fault_s

    def alive_for(self, seconds: float) -> None:
        """Waits for a moment, the one thing here that is about time itself; all replicas must outlive it."""
        until_s = time.monotonic() + seconds
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                status = process.wait(timeout=max(0.0, until_s - time.monotonic()))
                raise AssertionError(f"a replica ended with {status}:\n{self._last_words()}")

    def conclude(self) -> AuditReport:
        """Waits until every record has its outcome; nothing may be lost or doubled, at no time on the way."""
        deadline = time.monotonic() + SETTLING_S
        while not (report := self._audit()) or not self._is_settled(report):
            self._check_alive()
            found = report and (report.verdict.total, report.dead_letters)
            assert time.monotonic() < deadline, f"{found} of {self._result.records} in {SETTLING_S} s"
        if self._result.recovery_s == 0:
            self._recovered()
        self._write(report)
        return report

    def stop(self, *replicas: "subprocess.Popen[str]") -> None:
        """Ends replicas with SIGTERM, each in the 30 s that it has: with 0, also if it had ended before."""
        for replica in replicas:
            replica.send_signal(signal.SIGTERM)
            status = replica.wait(timeout=30)
            assert status == 0, f"a replica ended with {status}:\n{self._last_words()}"

    def _await_group(self, enough: Callable[[Mapping[str, int]], bool], wanted: str) -> None:
        deadline = time.monotonic() + RECOVERY_S
        while not enough(found := assigned(self.settings.kafka, self.name)):
            assert time.monotonic() < deadline, f"{found} after {RECOVERY_S} s, not {wanted}"

    def _check_alive(self) -> None:
        """Somebody must be at work; without this, a replica that has died is waited for to the end."""
        if all(process.poll() is not None for process in self.processes):
            raise AssertionError(f"no replica is alive:\n{self._last_words()}")

    def _last_words(self) -> str:
        return "\n".join(f"{log.name}: {log.read_text().strip()[-1_000:]}" for log in self.logs())

    def _is_settled(self, report: AuditReport) -> bool:
        """Whether all that was published has an outcome.

        When all brokers die, librdkafka's idempotent producer can send a record again under a new epoch, though the
        broker has it. Nobody but the join finds that out.
        """
        sent_again = report.verdict.total.records - self._result.records
        return report.is_settled and 0 <= sent_again <= report.dead_letters.get(Reason.DUPLICATE, 0)

    def _audit(self) -> AuditReport | None:
        try:
            report = run_audit(self.settings)
        except KafkaFailure:
            return None  # a broker is away, or a transaction that was left open holds the reader
        if not report.balances:
            self._write(report)
        assert report.balances, report.verdict
        return report

    def _await_progress(self, targets: Offsets) -> None:
        """Waits until every source partition's commit has seen the records below these offsets."""
        deadline = time.monotonic() + RECOVERY_S
        while behind := self._behind(targets):
            self._check_alive()
            assert time.monotonic() < deadline, f"no progress in {RECOVERY_S} s: {behind}"

    def _ends(self) -> Offsets:
        deadline = time.monotonic() + RECOVERY_S
        while True:
            try:
                return self._queries.ends(self._sources, written=True)
            except KafkaFailure:
                assert time.monotonic() < deadline

    def _behind(self, targets: Offsets) -> list[str]:
        try:
            committed = self._queries.committed(self.name, targets)
        except KafkaFailure as failure:
            return [str(failure)]
        highs = {
            where: offset_map.decode(entry.metadata, where.topic, where.partition, entry.offset).high
            for where, entry in committed.items()
        }
        return [str(where) for where, target in targets.items() if highs.get(where, 0) < target]

    def _recovered(self) -> None:
        took_s = round(time.monotonic() - self._last_fault_s, 1)
        self._result.recovery_s = max(self._result.recovery_s, took_s)

    def _write(self, report: AuditReport) -> None:
        total = report.verdict.total
        self._result.lost, self._result.doubled = total.lost, total.doubled
        self._result.write(predictions=report.predictions, dead_letters=report.dead_letters)


def killed(process: "subprocess.Popen[str]") -> None:
    """Ends a replica with SIGKILL."""
    process.kill()
    process.wait()


def await_said(process: "subprocess.Popen[str]", what: str) -> None:
    """Waits until a replica says that it is where the test wants it."""
    assert what in {OPEN, BUSY}
    assert process.stdout is not None
    assert process.stdout.readline().strip() == what


def alive_for(process: "subprocess.Popen[str]", seconds: float) -> None:
    """Waits for a moment, the one thing here that is about time itself; the process must outlive it."""
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)
