"""`trimodal bench pipeline` on the real broker: it says how fast it was and leaves no topic behind."""

import json
import subprocess
import sys

import pytest
from confluent_kafka.admin import AdminClient

pytestmark = pytest.mark.stack


def test_the_whole_way_is_measured_and_cleaned_up(bootstrap_servers: str) -> None:
    command = [sys.executable, "-m", "pipeline.cli", "--bootstrap-servers", bootstrap_servers]
    answer = subprocess.run(
        [*command, "bench", "pipeline", "--triples", "100", "--device", "cpu", "--json"],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    figures = json.loads(answer.stdout)
    assert figures["triples"] == 100
    assert figures["triples_per_s"] == pytest.approx(100 / figures["seconds"], rel=0.01)
    there = AdminClient({"bootstrap.servers": bootstrap_servers}).list_topics(timeout=30).topics
    assert not [name for name in there if name.startswith("bench-")]
