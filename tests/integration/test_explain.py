"""`trimodal explain` on the real servers: a key's whole story, whatever became of it."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from pipeline.events.records import Modality
from pipeline.join.partitioner import partition_of
from pipeline.kafka.auditing import run_audit
from pipeline.telemetry.clock import wall_ms
from tests.support.events import encoded
from tests.support.world import WAIT_S, World

pytestmark = pytest.mark.stack
KEY = r'door "17" \ [x]:*'
NOBODY = "http://127.0.0.1:9"
PARTITIONS = 3


@pytest.fixture
def make(bootstrap_servers: str, tmp_path: Path) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def made(elasticsearch_url: str = NOBODY, window_ms: int = 3_000, amend_ms: int = 0) -> World:
        world = World(bootstrap_servers, tmp_path, PARTITIONS, window_ms=window_ms, amend_ms=amend_ms)
        worlds.append(world)
        world.sections["elasticsearch"] = {"url": elasticsearch_url, "alias": f"t{world.name}"}
        return world

    yield made
    for world in worlds:
        world.__exit__()


def explained(world: World, key: str, *options: str) -> dict[str, Any]:
    done = world.run("pipeline.cli", "explain", key, "--json", *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def outcomes(found: dict[str, Any]) -> list[str]:
    return [became["outcome"] for record in found["records"] for became in record["outcomes"]]


def until(world: World, key: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Asks until it is so."""
    deadline = time.monotonic() + WAIT_S
    while not is_so(found := explained(world, key)):
        assert time.monotonic() < deadline, found
    return found


def settled(world: World, records: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while not ((report := run_audit(world.settings)).is_settled and report.verdict.total.records == records):
        assert time.monotonic() < deadline, report.verdict.total


def misrouted(world: World, key: str) -> int:
    """Publishes a speech event with this key to a partition where it does not belong."""
    partition = (partition_of(key.encode(), PARTITIONS) + 1) % PARTITIONS
    producer = Producer({"bootstrap.servers": world.settings.kafka.bootstrap_servers})
    value = encoded(Modality.SPEECH, wall_ms())
    producer.produce(world.settings.topics.source(Modality.SPEECH), value, key.encode(), partition=partition)
    assert producer.flush(WAIT_S) == 0
    return partition


def test_a_key_from_its_records_to_its_document(make: Callable[..., World], elasticsearch_url: str) -> None:
    world = make(elasticsearch_url)
    world.replica("a")
    world.start("pipeline.cli", "indexer", "run", "indexer")
    now_ms = wall_ms()
    with world.publishing() as send:
        for modality in Modality:
            send(modality, KEY.encode(), encoded(modality, now_ms))
            send(modality, b"another", encoded(modality, now_ms))
    wrong = misrouted(world, KEY)
    found = until(
        world, KEY, lambda found: len(found["dead_letters"]) == 1 and any(p["indexed"] for p in found["predictions"])
    )
    assert sorted(outcomes(found)) == ["dead-lettered", "predicted", "predicted", "predicted"]
    assert [
        record["partition"] for record in found["records"] if record["outcomes"][0].get("reason") == "MISROUTED"
    ] == [wrong]
    (prediction,), (document,) = found["predictions"], found["documents"]
    assert document["prediction_id"] == prediction["prediction_id"]
    assert (document["key"], found["gone"], found["problems"]) == (KEY, [], [])
    told = world.run("pipeline.cli", "explain", KEY).stdout
    assert f"4 source records, 1 prediction, 1 dead letter, in partition {found['partition']} of 3" in told
    assert f"→ prediction {prediction['prediction_id']}, revision 0" in told
    assert f"→ indexed as {document['index']}/{document['id']}" in told
    assert "MISROUTED: It is in partition" in told


def test_without_elasticsearch_and_before_anybody_reads_it(make: Callable[..., World]) -> None:
    world = make()
    with world.publishing() as send:
        send(Modality.SPEECH, b"a", encoded(Modality.SPEECH, wall_ms()))
    done = world.run("pipeline.cli", "explain", "a")
    assert done.returncode == 0
    assert f"→ open: the group {world.name} has not committed that it has come to it" in done.stdout
    assert f"Elasticsearch could not be asked. While searching t{world.name} at {NOBODY}: no answer" in done.stdout


def test_an_open_record_says_what_it_waits_for(make: Callable[..., World]) -> None:
    world = make(window_ms=600_000)
    world.replica("a")
    with world.publishing() as send:
        for modality in (Modality.SPEECH, Modality.SENSOR):
            send(modality, b"a", encoded(modality, wall_ms()))
    waiting = {"outcome": "open", "waits_for": ["IMAGE"]}
    until(world, "a", lambda found: all(record["outcomes"] == [waiting] for record in found["records"]))


def test_an_amended_answer_has_both_revisions(make: Callable[..., World]) -> None:
    world = make(amend_ms=600_000)
    world.replica("a")
    now_ms = wall_ms()
    with world.publishing() as send:
        for modality in (Modality.SPEECH, Modality.IMAGE):
            send(modality, b"a", encoded(modality, now_ms))
    settled(world, records=2)
    with world.publishing() as send:
        send(Modality.SENSOR, b"a", encoded(Modality.SENSOR, now_ms))
    settled(world, records=3)
    found = explained(world, "a")
    first, second = found["predictions"]
    assert first["prediction_id"] == second["prediction_id"]
    assert [(p["revision"], p["modalities"]) for p in (first, second)] == [
        (0, ["SPEECH", "IMAGE"]),
        (1, ["SPEECH", "IMAGE", "SENSOR"]),
    ]
    (sensor,) = (record for record in found["records"] if record["modality"] == "SENSOR")
    assert sensor["outcomes"] == [{"outcome": "predicted", "prediction_id": first["prediction_id"], "revisions": [1]}]


def test_an_unknown_key_ends_with_1_and_a_record_in_a_wrong_partition_is_found_everywhere(
    make: Callable[..., World],
) -> None:
    world = make()
    misrouted(world, "a")
    done = world.run("pipeline.cli", "explain", "a")
    assert done.returncode == 1
    assert "Nothing has the key 'a' in partition" in done.stderr
    assert outcomes(explained(world, "a", "--everywhere")) == ["open"]
    for unknown in ("b", "\udcff"):  # the second is how a byte that is not UTF-8 arrives
        assert world.run("pipeline.cli", "explain", unknown, "--everywhere").returncode == 1


def test_since_leaves_out_what_is_older_and_looks_up_what_outputs_name(make: Callable[..., World]) -> None:
    world = make()
    world.replica("a")
    with world.publishing() as send:
        send(Modality.SPEECH, b"a", b"garbage")
    settled(world, records=1)
    (letter,) = explained(world, "a")["dead_letters"]
    found = explained(world, "a", "--since", letter["taken_at"])
    assert outcomes(found) == ["dead-lettered"]
    assert "It starts with 67617262" in found["records"][0]["problem"]
    assert world.run("pipeline.cli", "explain", "a", "--since", "2126-01-01").returncode == 1
