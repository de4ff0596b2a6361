"""A model that is far too slow: what waits for it waits in Kafka."""

import time

import psutil
import pytest

from pipeline.events.records import Modality, SpeechEncoding, SpeechEvent
from tests.faults.conftest import NewScenario
from tests.faults.scenario import Scenario
from tests.faults.watching import metric
from tests.support.events import CODEC, encoded
from tests.support.replica import SLOW
from tests.support.world import await_true

MIB = 2**20
MAX_BYTES = 32 * MIB
CONSTANT = 128 * MIB
"""Beside join.max_bytes: what is fetched (32 MiB, and what a fetch unpacks to), one poll (4 MiB), buffers, batches."""
TRIPLES = 3_000
BATCH, BATCH_S = 16, 0.4


def publish_long_speech(here: Scenario) -> None:
    """Publishes triples of 64 kB, about 190 MiB of them, ten times as fast as the model takes them, or faster."""
    sound = bytes(range(256)) * 250
    with here.publishing() as send:
        for number in range(TRIPLES):
            now_ms = time.time_ns() // 1_000_000
            speech = CODEC.encode_event(SpeechEvent(now_ms, "test", 16_000, SpeechEncoding.PCM_S16LE, sound))
            for modality in Modality:
                value = speech if modality is Modality.SPEECH else encoded(modality, now_ms)
                send(modality, b"key-%d" % number, value)
    here.count(3 * TRIPLES)


@pytest.mark.slow_faults
def test_model_ten_times_too_slow(scenario: NewScenario) -> None:
    here = scenario(max_bytes=MAX_BYTES, window_ms=60_000)
    replica = here.replica("a", **{SLOW: str(BATCH_S), "TRIMODAL_SERVING__BATCH_SIZE": str(BATCH)})
    here.publish_some(BATCH)
    await_true("it is at work", lambda: "lanes assigned" in here.log("a"))
    await_true("it has answered", lambda: metric(here, "a", "trimodal_predictions_total") == BATCH)
    process = psutil.Process(replica.pid)
    before = process.memory_info().rss
    began_s = time.monotonic()
    publish_long_speech(here)
    assert TRIPLES / (time.monotonic() - began_s) > 10 * BATCH / BATCH_S, "the model is not slow enough"
    here.note(f"{TRIPLES} triples come ten times as fast as the model takes them")
    most_bytes = most_waiting = most_lag = 0.0
    while metric(here, "a", "trimodal_predictions_total") < TRIPLES + BATCH:
        most_bytes = max(most_bytes, process.memory_info().rss - before)
        most_waiting = max(most_waiting, metric(here, "a", "trimodal_waiting_bytes"))
        most_lag = max(most_lag, metric(here, "a", "trimodal_consumer_lag_records"))
    here.note(f"memory grew by {most_bytes / MIB:.0f} MiB, {most_lag:.0f} records waited in Kafka")
    report = here.conclude()
    assert report.predictions == TRIPLES + BATCH
    assert report.dead_letters == {}
    assert metric(here, "a", "trimodal_pauses_total") > 0
    assert most_lag > TRIPLES
    assert most_waiting < MAX_BYTES + 32 * MIB
    assert most_bytes < MAX_BYTES + CONSTANT
    here.stop(replica)
