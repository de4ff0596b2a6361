"""The live page as a test has it: the real program on a stack of its own, and what it shows, published on request."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.events.records import DeadLetter, Modality, Prediction, Reason, SourceOffset
from pipeline.kafka.contract import Output
from pipeline.kafka.producer import RecordProducer
from pipeline.search.bulk import Bulk
from pipeline.search.client import connect
from pipeline.search.documents import document
from pipeline.search.installation import install
from pipeline.search.queries import PredictionSearch
from pipeline.settings import ElasticsearchSettings, Settings
from pipeline.stack import LocalStack
from tests.support.events import CODEC, encoded
from tests.support.own_topics import WAIT_S, OwnTopics
from tests.support.stack import new_stack, started

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class BoardPlace:
    """A stack, topics, and the board that shows them."""

    stack: LocalStack
    topics: OwnTopics
    settings: Settings
    board: subprocess.Popen[str]
    address: str

    def predict(self, *predictions: Prediction) -> None:
        """Commits predictions in one transaction; returns when it is committed."""
        producer = self.topics.transactional()
        for prediction in predictions:
            producer.produce(self.topics.topics.predictions, CODEC.encode_prediction(prediction))
        producer.commit_transaction(WAIT_S)

    def inputs(self, key: str) -> tuple[SourceOffset, ...]:
        """Publishes a record of each modality; returns where they stand."""
        made = []
        for modality in Modality:
            topic = self.topics.topics.source(modality)
            value = encoded(modality, time.time_ns() // 1_000_000)
            producer = RecordProducer(self.settings.kafka, "test", 1 << 20)
            with producer:
                producer.publish(Output(topic, key.encode(), value))
            ends = self.topics.queries.ends(self.topics.queries.partitions([topic]))
            made += [SourceOffset(topic, where.partition, end - 1) for where, end in ends.items() if end]
        return tuple(made)

    def set_aside(self, detail: str, key: bytes) -> None:
        """Publishes a dead letter."""
        letter = DeadLetter(Reason.LATE, detail, key, None, (self.topics.source(1),), time.time_ns() // 1_000_000)
        self.topics.publish(self.topics.topics.dead_letters, CODEC.encode_dead_letter(letter))

    def index(self, predictions: Sequence[Prediction]) -> None:
        """Indexes predictions."""
        elasticsearch = self.settings.elasticsearch
        client = connect(elasticsearch)
        install(client, elasticsearch)
        Bulk(client, elasticsearch.url).write([document(entry, elasticsearch.alias) for entry in predictions])
        PredictionSearch(client, elasticsearch).refresh()


@contextmanager
def shown(folder: Path) -> Iterator[BoardPlace]:
    """Starts a stack and the board; ends both."""
    stack = new_stack(folder / "stack")
    try:
        addresses = started(stack)
        topics = OwnTopics(addresses.bootstrap_servers)
        kafka, prefix = topics.settings.kafka, topics.topics.prefix
        elasticsearch = ElasticsearchSettings(url=addresses.elasticsearch_url, alias=kafka.group)
        environment = {
            "TRIMODAL_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "TRIMODAL_KAFKA__GROUP": kafka.group,
            "TRIMODAL_TOPICS__PREFIX": prefix,
            "TRIMODAL_ELASTICSEARCH__URL": elasticsearch.url,
            "TRIMODAL_ELASTICSEARCH__ALIAS": elasticsearch.alias,
        }
        with (folder / "board.log").open("w") as log:
            board = subprocess.Popen(
                [sys.executable, "-m", "pipeline.cli", "run", "board", "--port", "0"],
                cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        try:
            assert board.stdout is not None
            address = re.findall(r"http://\S+", board.stdout.readline())[0]
            settings = topics.settings.model_copy(update={"elasticsearch": elasticsearch})
            yield BoardPlace(stack, topics, settings, board, address)
        finally:
            board.kill()
            board.communicate()
    finally:
        stack.down(wipe=True)
