"""Questions about a group that nobody answers."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from pipeline.kafka import groups
from pipeline.kafka.errors import Retriable
from pipeline.settings import KafkaSettings


def test_an_answer_that_does_not_come_can_be_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = SimpleNamespace(describe_consumer_groups=lambda names, **_: {name: Future[object]() for name in names})
    monkeypatch.setattr(groups, "AdminClient", lambda _: silent)
    with pytest.raises(Retriable, match=r"While describing the group g: no answer in 1 s: are all brokers up\?"):
        groups.assigned(KafkaSettings(call_timeout_ms=1_000), "g")
