"""The shipped programs as they run in production: what they say of themselves over HTTP, before, at and after work."""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from pipeline.stack import StackAddresses
from pipeline.stack.ports import free_ports
from tests.support.world import World, await_true

pytestmark = pytest.mark.stack
TRIPLES = 40
DEPTH = {
    "fusion": {"loop", "model", "gpu", "assignment", "lag", "commits", "broker"},
    "indexer": {"loop", "assignment", "lag", "commits", "broker", "elasticsearch"},
    "statistics": {"loop", "assignment", "lag", "commits", "broker"},
    "board": {"loop", "page", "broker", "elasticsearch"},
}
SHOWN: dict[str, list[tuple[str, dict[str, str], float]]] = {
    "fusion": [
        ("trimodal_records_total", {"topic": "speech"}, TRIPLES),
        ("trimodal_outcomes_total", {"topic": "speech", "outcome": "joined"}, TRIPLES),
        ("trimodal_predictions_total", {"inputs": "3"}, TRIPLES),
        ("trimodal_latency_seconds_count", {"inputs": "3"}, TRIPLES),
        ("trimodal_batch_size_sum", {}, TRIPLES),
    ],
    "indexer": [
        ("trimodal_records_total", {"topic": "predictions"}, TRIPLES),
        ("trimodal_documents_total", {"result": "created"}, TRIPLES),
    ],
    "statistics": [("trimodal_statistics_predictions_total", {"outcome": "counted"}, TRIPLES)],
    "board": [],
}
AT_LEAST_ONE = {
    "fusion": ["trimodal_model_seconds_count", "trimodal_commit_seconds_count", "trimodal_queue_wait_seconds_count"],
    "indexer": ["trimodal_bulk_seconds_count"],
    "statistics": ["trimodal_last_commit_timestamp_seconds"],
    "board": ["trimodal_ready"],
}


class Programs(World):
    """All four programs."""

    def __init__(self, stack: StackAddresses, logs: Path) -> None:
        super().__init__(stack.bootstrap_servers, logs)
        self.sections |= {
            "monitoring": {"metrics_port": 0},
            "elasticsearch": {"url": stack.elasticsearch_url, "alias": self.name},
            "board": {"port": 0},
            "statistics": {"web_port": free_ports(1)[0], "publish_ms": 100},
        }

    def begin(self, program: str) -> None:
        self.start("pipeline.cli", program, "run", program)
        self.await_begun(program, 1)

    def get(self, program: str, path: str) -> tuple[int, str]:
        """Returns the status and the body that a program answers with."""
        found = re.search(r'"metrics_port": (\d+)', self.log(program))
        assert found, self.log(program)
        try:
            with urlopen(f"http://127.0.0.1:{found[1]}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    def is_ready(self, program: str) -> bool:
        return self.get(program, "/readyz")[0] == 200

    def shows(self, program: str, name: str, labels: dict[str, str], wanted: float) -> bool:
        return self.sample(program, name, labels) == wanted

    def shows_some(self, program: str, name: str) -> bool:
        return (self.sample(program, name, {}) or 0) > 0

    def sample(self, program: str, name: str, labels: dict[str, str]) -> float | None:
        """Returns a metric's value, summed over the labels that are not given; None if it was not sampled yet.

        A topic goes without its prefix.
        """
        prefix = self.settings.topics.prefix
        wanted = [f'{key}="{prefix if key == "topic" else ""}{content}"' for key, content in labels.items()]
        lines = [line for line in self.get(program, "/metrics")[1].splitlines() if re.match(rf"{name}[{{ ]", line)]
        values = [float(line.rsplit(" ", 1)[1]) for line in lines if all(label in line for label in wanted)]
        return sum(values) if values else None


@pytest.fixture
def programs(stack: StackAddresses, tmp_path: Path) -> Iterator[Programs]:
    with Programs(stack, tmp_path) as made:
        yield made


def test_what_the_programs_say_of_themselves(programs: Programs) -> None:
    programs.begin("fusion")
    status, body = programs.get("fusion", "/readyz")
    assert (status, json.loads(body)["checks"]["model"]["ok"]) == (503, False), "the model is not warm yet"
    for program in ("indexer", "statistics", "board"):
        programs.begin(program)
    for program in DEPTH:
        await_true(f"{program} is ready", partial(programs.is_ready, program))
        assert programs.get(program, "/healthz")[0] == 200
    programs.publish(TRIPLES)
    for program, shown in SHOWN.items():
        for name, labels, wanted in shown:
            await_true(f"{program} shows {wanted} in {name}", partial(programs.shows, program, name, labels, wanted))
        for name in AT_LEAST_ONE[program]:
            await_true(f"{program} shows some {name}", partial(programs.shows_some, program, name))
    for program in ("fusion", "indexer", "statistics"):
        await_true(f"{program} has no lag", partial(programs.shows, program, "trimodal_consumer_lag_records", {}, 0))
    for program, names in DEPTH.items():
        status, body = programs.get(program, "/health/deep")
        assert status == 200, body
        assert json.loads(body)["checks"].keys() == names
