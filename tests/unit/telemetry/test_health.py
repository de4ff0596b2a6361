"""Alive, ready and in depth."""

import pytest

from pipeline.telemetry.health import PROBE_AGAIN_S, Finding, Health


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_loop_that_takes_steps_is_alive(clock: Clock) -> None:
    health = Health(stalled_after_s=60, clock_s=clock)
    clock.now_s += 1_000
    assert health.alive().ok, "starting takes what it takes: a start-up probe watches over it"
    health.beat()
    clock.now_s += 59
    assert health.alive().ok
    clock.now_s += 1
    (stuck,) = health.alive().findings.values()
    assert not stuck.ok
    assert stuck.says == "The main loop took its last step 60.0 s ago, more than 60 s: it is stuck; restart it."
    health.beat()
    assert health.alive().ok


def test_ready_needs_all_that_is_needed(clock: Clock) -> None:
    health = Health(needs=("model", "assignment"), clock_s=clock)
    assert not health.ready().ok
    assert health.ready().findings["model"] == Finding(ok=False, says="Not yet.")
    health.note("model", "It is warm.")
    health.note("assignment", "Nothing is held.", ok=False)
    assert not health.ready().ok
    health.note("assignment", "Lane 3 is held.")
    health.note("lag", "Too much.", ok=False)
    assert health.ready().ok, "what is not needed does not count"


def test_a_stuck_loop_is_not_ready(clock: Clock) -> None:
    health = Health(stalled_after_s=60, clock_s=clock)
    health.beat()
    clock.now_s += 61
    assert not health.ready().ok


def test_the_depth_is_everything_and_what_is_probed(clock: Clock) -> None:
    health = Health(needs=("model",), clock_s=clock)
    health.note("model", "It is warm.")
    health.note("lag", "3 records.")
    health.probe("broker", lambda: Finding(ok=False, says="No broker answers."))
    report = health.deep()
    assert list(report.findings) == ["loop", "model", "lag", "broker"]
    assert not report.ok
    assert health.ready().ok, "a broker that is away makes no replica unready"


def test_who_asks_again_soon_gets_the_same_answer(clock: Clock) -> None:
    asked: list[float] = []

    def ask() -> Finding:
        asked.append(clock.now_s)
        return Finding(ok=True, says=f"Asked {len(asked)} times.")

    health = Health(clock_s=clock)
    health.probe("broker", ask)
    for _ in range(3):
        assert health.deep().findings["broker"].says == "Asked 1 times."
    clock.now_s += PROBE_AGAIN_S
    assert health.deep().findings["broker"].says == "Asked 2 times."
