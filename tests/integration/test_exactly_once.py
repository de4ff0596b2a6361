"""Fusion replicas as processes on the real Kafka, killed and restarted; the audit is the judge."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.events.records import Modality, Reason
from pipeline.join.audit import Account
from pipeline.kafka.auditing import AuditReport, run_audit
from pipeline.kafka.errors import Retriable
from tests.support.events import encoded
from tests.support.replica import HANGS, OPEN
from tests.support.world import WAIT_S, World, await_true

pytestmark = pytest.mark.stack


@pytest.fixture
def world(bootstrap_servers: str, tmp_path: Path) -> Iterator[World]:
    with World(bootstrap_servers, tmp_path) as world:
        yield world


def settled(world: World, records: int) -> AuditReport:
    """Audits until every one of so many records has an outcome; every audit on the way must balance."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            report = run_audit(world.settings)
        except Retriable:
            report = None  # a transaction that was left open holds the reader
        if report is not None:
            total = report.verdict.total
            assert report.balances, total
            if total.records == records and report.is_settled:
                return report
            assert time.monotonic() < deadline, f"{total} of {records} in {WAIT_S} s"


def wait_for_transaction(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == OPEN


def stopped(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=30)


def test_the_whole_way(world: World) -> None:
    replicas = [world.replica("a"), world.replica("b")]
    records = world.publish(300, missing=0.05)
    report = settled(world, records)
    assert report.predictions > 250
    assert [stopped(replica) for replica in replicas] == [0, 0]


def test_killed_in_an_open_transaction(world: World) -> None:
    records = world.publish(200, missing=0.1)
    first = world.replica("a", **{HANGS: "2"})
    wait_for_transaction(first)
    first.kill()
    first.wait()
    started_s = time.monotonic()
    world.replica("a")
    report = settled(world, records)
    assert report.verdict.total == Account(
        records=records,
        predicted=report.verdict.total.predicted,
        dead_lettered=report.verdict.total.dead_lettered,
    )
    assert time.monotonic() - started_s < 45


def test_killed_at_random_moments(world: World) -> None:
    rng = random.Random(7)
    replicas = {name: world.replica(name) for name in ("a", "b")}
    begun = dict.fromkeys(replicas, 1)
    records = 0
    for kill in range(5):
        records += world.publish(100, missing=0.1, seed=kill)
        name = rng.choice(sorted(replicas))
        assert_alive_for(replicas[name], rng.uniform(0.3, 2.0))
        replicas[name].kill()
        replicas[name].wait()
        begun[name] = world.times_begun(name) + 1
        replicas[name] = world.replica(name)
    settled(world, records)
    for name, times in begun.items():
        world.await_begun(name, times)
    assert [stopped(replica) for replica in replicas.values()] == [0, 0]


def assert_alive_for(process: subprocess.Popen[str], seconds: float) -> None:
    """Waits for a random moment: the one thing here that is about time itself."""
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)


def test_a_process_of_the_model_is_killed(world: World) -> None:
    world.sections["serving"]["workers"] = 2
    records = world.publish(300)
    killed = world.start("pipeline.cli", "a", "run", "fusion")
    await_true("the model is warm", lambda: "model warm" in world.log("a"))
    lines = [json.loads(line) for line in world.log("a").splitlines()]
    (pids,) = [line["pids"] for line in lines if "pids" in line]
    os.kill(pids[0], signal.SIGKILL)
    assert killed.wait(timeout=WAIT_S) == 1
    assert "serving.workers" in world.log("a").splitlines()[-1]
    with pytest.raises(ProcessLookupError):
        os.kill(pids[1], 0)
    started = world.start("pipeline.cli", "a", "run", "fusion")
    settled(world, records)
    assert stopped(started) == 0


def test_poison_ends_as_dead_letters_and_harms_nobody(world: World) -> None:
    now_ms = time.time_ns() // 1_000_000
    speech, image, sensor = (encoded(modality, now_ms) for modality in Modality)
    poison = {
        Modality.SPEECH: [b"\x07garbage", image, speech, encoded(Modality.SPEECH, now_ms + 10**7)],
        Modality.IMAGE: [b"", image[:-3], image.replace(b"PNG", b"GNP")],
        Modality.SENSOR: [sensor + b"\0", speech, sensor],
    }
    records = world.publish(100, extra=poison)
    world.replica("a")
    report = settled(world, records)
    assert report.predictions == 101
    assert report.dead_letters == {Reason.UNDECODABLE: 6, Reason.CLOCK_SKEW: 1, Reason.INVALID: 1}


def test_missing_inputs_amend_also_after_a_kill(world: World) -> None:
    def publish(*modalities: Modality) -> None:
        with world.publishing() as send:
            for number in range(20):
                for modality in modalities:
                    send(modality, b"key-%d" % number, encoded(modality, now_ms))

    now_ms = time.time_ns() // 1_000_000
    publish(Modality.SPEECH, Modality.SENSOR)
    first = world.replica("a")
    assert settled(world, 40).predictions == 20
    first.kill()
    first.wait()
    publish(Modality.IMAGE)
    world.replica("a")
    report = settled(world, 60)
    assert report.predictions == 40
    assert report.dead_letters == {}


def test_a_second_process_of_one_name_ends_the_first(world: World) -> None:
    records = world.publish(50)
    first = world.replica("a")
    settled(world, records)
    world.replica("a")
    records += world.publish(50, seed=2)
    settled(world, records)
    assert first.wait(timeout=WAIT_S) != 0


def test_sigterm_commits_what_is_in_flight(world: World) -> None:
    records = world.publish(400)
    replica = world.replica("a", **{HANGS: "1000000"})
    deadline = time.monotonic() + WAIT_S
    while run_audit(world.settings).predictions == 0:
        assert time.monotonic() < deadline
    assert stopped(replica) == 0
    report = run_audit(world.settings)
    assert report.balances
    assert report.verdict.total.records == records
    world.replica("a")
    settled(world, records)
