"""The indexer's yardstick: consume, decode, JSON, bulk, commit, and nothing else.

No versions, no outcome of a document but "errors: false", no dead letters, no retries, no metrics.
Arguments: predictions.
"""

import json
import sys
import time
from io import BytesIO

import fastavro
from confluent_kafka import Consumer
from elasticsearch import Elasticsearch

import schemas
from pipeline.events.codec import SINGLE_OBJECT_HEADER_BYTES
from pipeline.settings import load
from schemas import Name
from tests.bench.indexer import told


def main(predictions: int) -> None:
    """Indexes all of them, then prints the figures."""
    settings = load().settings
    elasticsearch = settings.elasticsearch
    schema = fastavro.parse_schema(json.loads(schemas.text(Name.PREDICTION).replace('"logicalType"', '"was"')))
    client = Elasticsearch(elasticsearch.url)
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka.bootstrap_servers,
            "group.id": settings.kafka.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([settings.topics.predictions])
    done, begin = 0, 0.0
    while done < predictions:
        messages = consumer.consume(elasticsearch.bulk_documents, 0.05)
        if not messages:
            continue
        begin = begin or time.monotonic()
        lines = []
        for message in messages:
            body = BytesIO(message.value()[SINGLE_OBJECT_HEADER_BYTES:])  # type: ignore[index]
            fields: dict[str, object] = fastavro.schemaless_reader(body, schema, None)  # type: ignore[assignment]
            day = time.strftime("%Y.%m.%d", time.gmtime(fields["event_time"] / 1_000))  # type: ignore[operator]
            lines.append(
                json.dumps({"index": {"_index": f"{elasticsearch.alias}-{day}", "_id": fields["prediction_id"]}})
            )
            lines.append(json.dumps(fields))
        answer = client.bulk(operations=lines, filter_path=["errors"])  # type: ignore[arg-type]
        assert not answer["errors"]
        consumer.commit(asynchronous=False)
        done += len(messages)
    told(predictions, time.monotonic() - begin)
    consumer.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
