"""`trimodal index` on the real Kafka and the real Elasticsearch."""

import json
from dataclasses import replace

import pytest
from confluent_kafka import TopicPartition as ClientTopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner, Result

from pipeline.cli import index as command
from pipeline.search.bulk import Bulk, Indexed
from pipeline.search.documents import document
from pipeline.search.errors import Fatal
from pipeline.search.installation import install
from pipeline.search.template import VERSION
from pipeline.stack import StackAddresses
from tests.support.indexing import PATIENCE_S, Workplace, await_documents, ids, running
from tests.support.predictions import NOON_MS, a_prediction

pytestmark = pytest.mark.stack
DAY = "2026-01-01"
DAY_MS = 86_400_000
COUNT = 120


@pytest.fixture
def workplace(stack: StackAddresses) -> Workplace:
    return Workplace.made(stack)


@pytest.fixture
def run(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> "Run":
    monkeypatch.setattr(command, "settings", lambda: workplace.settings)
    return Run()


class Run:
    """Calls `trimodal index`."""

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(command.app, arguments)

    def json(self, *arguments: str) -> dict[str, object]:
        fields: dict[str, object] = json.loads(self(*arguments, "--json").stdout)
        return fields


def _publish_two_days(workplace: Workplace) -> None:
    """The day, some of it amended and one published twice; and half as much of the day after."""
    first = [a_prediction(number) for number in range(COUNT)]
    amended = [replace(one, revision=1, label="9") for one in first[:10]]
    later = [a_prediction(COUNT + n, event_time_ms=NOON_MS + DAY_MS) for n in range(COUNT // 2)]
    workplace.publish([*amended[:5], *first, *amended[5:], first[0], *later])


def test_a_day_is_rebuilt_with_the_same_ids_and_newest_revisions(workplace: Workplace, run: Run) -> None:
    _publish_two_days(workplace)
    told = run.json("reindex", "--day", DAY)
    assert (told["of_the_day"], told["documents"]) == (COUNT + 11, COUNT)
    found = workplace.indexed()
    assert ids(found) == sorted(f"id-{number}" for number in range(COUNT))
    assert sum(one.revision for one in found) == 10
    assert {one.label for one in found if one.revision} == {"9"}
    again = run.json("reindex", "--day", DAY)
    assert (again["written"], again["known"], again["documents"]) == (0, COUNT + 11, COUNT)


def test_what_is_missing_is_added_and_what_is_there_stays(workplace: Workplace, run: Run) -> None:
    _publish_two_days(workplace)
    elasticsearch, client = workplace.settings.elasticsearch, workplace.client
    install(client, elasticsearch)
    there = document(a_prediction(50, label="as it was"), elasticsearch.alias)
    assert Bulk(client, elasticsearch.url).write([there]) == (Indexed(new=True),)
    assert run.json("reindex", "--day", DAY)["documents"] == COUNT
    found = workplace.indexed()
    assert ids(found) == sorted(f"id-{number}" for number in range(COUNT))
    assert [one.prediction_id for one in found if one.label == "as it was"] == ["id-50"]


def test_what_was_deleted_is_in_a_recreated_index(workplace: Workplace, run: Run) -> None:
    _publish_two_days(workplace)
    run("reindex", "--day", DAY)
    index = f"{workplace.settings.elasticsearch.alias}-2026.01.01"
    workplace.client.delete(index=index, id="id-50")
    # A deleted document's version is remembered for a minute, except by a new index.
    recreated = run("reindex", "--day", DAY, "--recreate")
    assert recreated.exit_code == 0, recreated.output
    assert f"{index} was deleted and made anew." in recreated.stdout
    assert f"{index} holds {COUNT} documents." in recreated.stdout


def test_beside_a_live_indexer_nothing_is_missing_or_doubled(workplace: Workplace, run: Run) -> None:
    more = COUNT * 5
    workplace.publish(a_prediction(number) for number in range(COUNT))
    with running(workplace):
        await_documents(workplace, COUNT)
        workplace.publish(a_prediction(number) for number in range(COUNT, more))
        assert run("reindex", "--day", DAY, "--recreate").exit_code == 0
        await_documents(workplace, more)
    assert ids(workplace.indexed()) == sorted(f"id-{number}" for number in range(more))


def test_a_day_that_the_topic_no_longer_holds_is_not_recreated(workplace: Workplace, run: Run) -> None:
    _publish_two_days(workplace)
    run("reindex", "--day", DAY)
    admin = AdminClient({"bootstrap.servers": workplace.settings.kafka.bootstrap_servers})
    where = ClientTopicPartition(workplace.settings.topics.predictions, 0, 1)
    admin.delete_records([where])[where].result(timeout=PATIENCE_S)
    refused = run("reindex", "--day", DAY, "--recreate")
    assert isinstance(refused.exception, Fatal)
    assert "may no longer hold all of 2026-01-01" in str(refused.exception)
    told = run.json("reindex", "--day", DAY)
    assert (told["cut"], told["documents"]) == ([f"{where.topic}[0]"], COUNT)


def test_setup_says_what_it_does_and_status_what_differs(workplace: Workplace, run: Run) -> None:
    before = run("status")
    assert before.exit_code == 1
    assert "There is no index template" in before.stdout
    first, second = run("setup").stdout, run("setup").stdout
    assert f"version {VERSION}." in first
    assert "has no ILM" in first
    assert second.startswith("Nothing to do: all is there.\n")
    _publish_two_days(workplace)
    run("reindex", "--day", DAY)
    after = run("status")
    assert after.exit_code == 0
    (row,) = [line.split() for line in after.stdout.splitlines() if "2026.01.01" in line]
    assert row[1] == str(COUNT)


def test_what_is_no_day_is_refused(run: Run) -> None:
    refused = run("reindex", "--day", "yesterday")
    assert refused.exit_code == 2
    assert "'yesterday' is no day" in refused.output
