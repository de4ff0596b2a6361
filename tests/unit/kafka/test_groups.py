"""Questions about a group that nobody answers."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from pipeline.kafka import groups
from pipeline.kafka.errors import Retriable
from pipeline.settings import KafkaSettings

Answers = dict[str, Future[object]]


def test_an_answer_that_does_not_come_can_be_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = SimpleNamespace(describe_consumer_groups=lambda names, **_: {name: Future[object]() for name in names})
    monkeypatch.setattr(groups, "AdminClient", lambda _: silent)
    with pytest.raises(Retriable, match=r"While describing the group g: no answer in 1 s: are all brokers up\?"):
        groups.assigned(KafkaSettings(call_timeout_ms=1_000), "g")


def test_what_is_not_answered_soon_is_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    answer: Future[object] = Future()
    answer.set_result(SimpleNamespace(members=[SimpleNamespace(group_instance_id="a", member_id="x")]))
    answers: list[Answers] = [{"g": Future()}, {"g": answer}]
    asked: list[float] = []

    def describe(names: list[str], request_timeout: float) -> Answers:
        asked.append(request_timeout)
        return answers.pop(0)

    monkeypatch.setattr(groups, "_ATTEMPT_S", 0.1)
    monkeypatch.setattr(groups, "AdminClient", lambda _: SimpleNamespace(describe_consumer_groups=describe))
    assert groups.members(KafkaSettings(call_timeout_ms=60_000), "g") == ("a",)
    assert asked == [0.1, 0.1]
