"""Replicas are killed, stopped, added and taken away under load."""

import random
import signal

import pytest

from pipeline.events.records import Reason
from tests.faults.conftest import NewScenario
from tests.faults.scenario import alive_for, await_said, killed
from tests.faults.watching import left_open
from tests.support.replica import BUSY, HANGS, IDLE, OPEN, SLOW, STOPS

SEED = 20_261_124


@pytest.mark.slow_faults
@pytest.mark.timeout(900)
def test_one_of_two_replicas_killed_again_and_again(scenario: NewScenario) -> None:
    here = scenario()
    rng = random.Random(SEED)
    replicas = {name: here.replica(name) for name in ("a", "b")}
    hanging: set[str] = set()
    kills = in_commit = 0
    with here.load(70) as load:
        while kills < 20 or load.triples < 10_000:
            name = rng.choice(sorted(replicas))
            if name in hanging:
                await_said(replicas[name], OPEN)
                in_commit += 1
                here.note(f"kill -9 of {name} between send_offsets and commit")
            else:
                alive_for(replicas[name], rng.uniform(0.5, 5.0))
                here.note(f"kill -9 of {name}")
            killed(replicas[name])
            kills += 1
            hanging.discard(name)
            if not hanging and rng.random() < 0.6:  # two would wait for each other's part in a rebalance
                hanging.add(name)
                replicas[name] = here.replica(name, **{HANGS: str(rng.randint(1, 20))})
            else:
                replicas[name] = here.replica(name)
        for name in hanging:
            await_said(replicas[name], OPEN)
            here.note(f"kill -9 of {name} between send_offsets and commit")
            killed(replicas[name])
            replicas[name] = here.replica(name)
    report = here.conclude()
    assert kills >= 20
    assert in_commit >= 3
    assert load.triples >= 10_000
    assert 0.09 < report.dead_letters[Reason.INCOMPLETE] / (load.triples / 2) < 0.11, "half of the incomplete are alone"
    here.stop(*replicas.values())


@pytest.mark.slow_faults
def test_one_of_three_replicas_killed_for_good(scenario: NewScenario) -> None:
    here = scenario()
    replicas = [here.replica(name) for name in ("a", "b", "c")]
    with here.load(60):
        here.await_assigned(a=3, b=3, c=3)
        with here.fault("kill -9 of c, for good"):
            killed(replicas[2])
    here.conclude()
    assert here.recovery_s < here.settings.kafka.session_timeout_ms / 1_000 + 10
    here.stop(*replicas[:2])


@pytest.mark.parametrize("in_transaction", [False, True], ids=["between transactions", "in a transaction"])
@pytest.mark.slow_faults
def test_zombie(scenario: NewScenario, *, in_transaction: bool) -> None:
    """It stands still for longer than its session; then it finds itself fenced, and comes back as a member."""
    here = scenario(kafka={"transaction_timeout_ms": 3_000})
    other = here.replica("b")
    zombie = here.replica("a", **({STOPS: "40"} if in_transaction else {}))
    with here.load(60):
        if in_transaction:
            await_said(zombie, OPEN)
            here.note("SIGSTOP of a between send_offsets and commit")
        else:
            here.await_members("a", "b")
            zombie.send_signal(signal.SIGSTOP)
            here.note("SIGSTOP of a")
        here.await_assigned(b=9)
        with here.fault("b has taken over"):
            pass
        with here.fault("SIGCONT of a"):
            zombie.send_signal(signal.SIGCONT)
        here.await_members("a", "b")
    here.conclude()
    here.stop(zombie, other)


@pytest.mark.slow_faults
def test_scaled_up_and_down_again(scenario: NewScenario) -> None:
    here = scenario()
    replicas = {"a": here.replica("a")}
    with here.load(60):
        for starts in (1, 2):
            for name in ("b", "c"):
                here.note(f"start of {name}")
                replicas[name] = here.replica(name)
                here.await_begun(name, starts)
                alive_for(replicas["a"], 3)
            for name in ("c", "b"):
                here.note(f"SIGTERM of {name}")
                here.stop(replicas.pop(name))
                alive_for(replicas["a"], 3)
        with here.fault("only a is left"):
            pass
    here.conclude()
    here.stop(replicas["a"])


def test_rebalance_while_a_slow_batch_is_in_the_model(scenario: NewScenario) -> None:
    here = scenario()
    slow = here.replica("a", **{SLOW: "8"})
    here.publish_some(100)
    await_said(slow, BUSY)
    here.note("start of b while a batch of a is in the model")
    other = here.replica("b")
    here.await_members("a", "b")
    before = here.log("a").partition("lanes revoked")[0]
    assert before.count(BUSY) == before.count(IDLE) + 1, "a batch was in the model when the lanes went"
    here.publish_some(100, seed=2)
    here.conclude()
    here.stop(slow, other)


def test_sigterm_under_load(scenario: NewScenario) -> None:
    """It ends within 30 s; all that its open windows do not hold is committed, so that nothing of it is done again."""
    here = scenario()
    replica = here.replica("a")
    with here.load(60):
        here.note("SIGTERM of a")
        here.stop(replica)
        records, redone = left_open(here)
        here.note(f"{records} records of open windows are left to its successor, and nothing that it had settled")
        assert redone == set()
        replica = here.replica("a")
    here.conclude()
    here.stop(replica)


@pytest.mark.slow_faults
def test_rolling_restart_of_all_replicas(scenario: NewScenario) -> None:
    here = scenario()
    replicas = {name: here.replica(name) for name in ("a", "b", "c")}
    with here.load(60):
        here.await_assigned(a=3, b=3, c=3)
        for name, replica in tuple(replicas.items()):
            with here.fault(f"SIGTERM and start of {name}"):
                here.stop(replica)
                replicas[name] = here.replica(name)
    here.conclude()
    here.stop(*replicas.values())
