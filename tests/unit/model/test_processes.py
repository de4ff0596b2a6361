"""The model in processes of its own: parts in order, what a process is told and tells, and every way it can end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import psutil
import pytest

from pipeline.events.errors import Undecodable
from pipeline.events.records import Modality
from pipeline.model.contract import Classified, Failed, TooFewInputs
from pipeline.model.errors import BrokenBundle, DeviceUnavailable
from pipeline.model.inference import Inference
from pipeline.model.processes import InProcesses
from pipeline.telemetry.metrics import REGISTRY
from tests.support import workers
from tests.unit.model.test_inference import WAIT_S, answers, asked

SPEECH, IMAGE, SENSOR = Modality


@pytest.fixture
def model() -> Iterator[InProcesses]:
    one = InProcesses(workers.telling, 2)
    yield one
    one.close()


def await_end(pids: Sequence[int]) -> None:
    """Waits until none of these processes is there."""
    deadline = time.monotonic() + WAIT_S
    while left := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, f"{left} still run"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_batch_is_split_among_the_processes_and_comes_back_in_order(model: InProcesses) -> None:
    inference = Inference(model, 2, WAIT_S)
    assert len(set(model.pids)) == 2
    requests = [asked(number, *Modality) for number in range(40)]
    seen: set[float] = set()
    while len(seen) < 2:  # one process may take both parts of a batch
        inference.submit(requests)
        got = answers(inference, len(requests))
        assert list(got) == list(range(40))
        answered = [answer.probabilities[0] for answer in got.values() if isinstance(answer, Classified)]
        assert len(answered) == 40
        assert len(set(answered[:20])) == len(set(answered[20:])) == 1
        seen |= set(answered)
    assert len(seen) == 2


def test_what_is_refused_or_fails_comes_back_with_its_reason(model: InProcesses) -> None:
    inference = Inference(model, 2, WAIT_S)
    inference.submit(
        [
            asked("whole", *Modality),
            asked("in part", IMAGE, SENSOR, broken=SPEECH),
            asked("too few", IMAGE, broken=SENSOR),
            asked("fails", SPEECH, SENSOR),
        ]
    )
    got = answers(inference, 4)
    assert {name: type(answer) for name, answer in got.items()} == {
        "whole": Classified,
        "in part": Classified,
        "too few": TooFewInputs,
        "fails": Failed,
    }
    assert isinstance(got["in part"].refused[SPEECH], Undecodable)
    assert str(got["in part"].refused[SPEECH])
    assert isinstance(got["fails"], Failed)
    assert got["fails"].problem == "It wants a picture."


def test_how_long_it_waited_and_took_is_told(model: InProcesses) -> None:
    def told() -> list[float]:
        names = ("trimodal_model_seconds_count", "trimodal_queue_wait_seconds_count")
        return [REGISTRY.get_sample_value(names[0]) or 0, REGISTRY.get_sample_value(names[1], {"queue": "model"}) or 0]

    before = told()
    inference = Inference(model, 2, WAIT_S)
    inference.submit([asked(0, *Modality)])
    answers(inference, 1)
    assert told() == [count + 1 for count in before]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_left_to_the_consumer(model: InProcesses, number: signal.Signals) -> None:
    for pid in model.pids:
        os.kill(pid, number)
    inference = Inference(model, 2, WAIT_S)
    inference.submit([asked(0, *Modality)])
    assert isinstance(answers(inference, 1)[0], Classified)
    assert all(is_alive(pid) for pid in model.pids)


def test_what_fails_at_the_start_is_told(tmp_path: Path) -> None:
    with pytest.raises(BrokenBundle, match=r"The bundle is broken\."):
        InProcesses(workers.broken, 2)
    # The other one only sees that the first has failed.
    with pytest.raises(BrokenBundle, match=r"The bundle is broken\."):
        InProcesses(partial(workers.broken_once, str(tmp_path / "marker")), 2)


def test_a_process_that_is_killed_at_the_start_is_told() -> None:
    with pytest.raises(DeviceUnavailable, match=r"serving\.workers"):
        InProcesses(workers.killed, 2)


def ask(inference: Inference, until_s: float = 0.0) -> None:
    """Asks once, or again and again for so long."""
    deadline = time.monotonic() + until_s
    while True:
        inference.submit([asked(0, *Modality)])
        answers(inference, 1)
        if time.monotonic() >= deadline:
            break


def test_when_a_process_is_killed_the_model_is_lost_and_the_others_end(model: InProcesses) -> None:
    inference = Inference(model, 2, WAIT_S)
    os.kill(model.pids[0], signal.SIGKILL)
    with pytest.raises(DeviceUnavailable, match=r"serving\.workers"):
        ask(inference, until_s=WAIT_S)
    inference.close()
    await_end(model.pids)


def test_the_watchdog_ends_a_process_that_hangs() -> None:
    inference = Inference(InProcesses(workers.hanging, 1), 2, WAIT_S)
    with pytest.raises(DeviceUnavailable):
        ask(inference)
    inference.close()


def test_a_process_that_stands_still_is_given_up_and_killed() -> None:
    model = InProcesses(workers.telling, 1)
    inference = Inference(model, 2, 0.2)
    os.kill(model.pids[0], signal.SIGSTOP)
    inference.submit([asked(0, *Modality)])
    with pytest.raises(DeviceUnavailable, match="not answered a batch"):
        inference.results(0.3)
    inference.close()
    await_end(model.pids)


def test_close_leaves_none() -> None:
    model = InProcesses(workers.telling, 2)
    model.close()
    await_end(model.pids)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_they_end_with_the_consumer_however_it_ends(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "tests.support.workers"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2
    process.send_signal(number)
    process.wait(WAIT_S)
    process.stdout.close()
    await_end(pids)
