"""Rebuilds a day's index from the topic of predictions, beside a live indexer.

1. **Where the day begins in the topic.** A prediction is published after its event, by the broker's clock and up to
   `join.max_skew_ms`: records older than the day, less that, cannot be of it. Where retention has already deleted
   records that could be, the partition no longer holds the whole day.
2. To recreate an index it is deleted now, **before the ends are asked for**: whatever the indexer wrote into the
   deleted index it had read from below those ends, and what it reads later it writes into the new one itself.
3. All of it is read, committed records only, and the day's predictions are written with the ids and versions that
   the indexer gives them. Whoever comes second finds a version as new there, and nothing is doubled.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from pipeline.events.codec import Codec
from pipeline.events.errors import RecordError
from pipeline.kafka.contract import Message, TopicPartition
from pipeline.kafka.offsets import OffsetQueries
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.registry import codec
from pipeline.search.bulk import Backoff, Bulk, Indexed, Outcome, Rejected
from pipeline.search.client import connect
from pipeline.search.documents import Document, document
from pipeline.search.errors import Fatal, Retriable
from pipeline.search.installation import delete_index, install
from pipeline.search.queries import PredictionSearch
from pipeline.search.template import index_of
from pipeline.settings import Settings
from pipeline.telemetry.tracing import context_of

ROLE = "reindex"
LISTED = 20
WAITS_S = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)

Ranges = Mapping[TopicPartition, range]


@dataclass(slots=True)
class Rebuilt:
    """What became of a day.

    Attributes:
        index: the day's index.
        cut: partitions that may no longer hold all of the day.
        recreated: whether there was an index that was deleted first.
        read: records that were read.
        of_the_day: predictions of the day among them, every revision.
        written: documents that were not there in this revision or a newer one.
        known: those that were.
        rejected: predictions that Elasticsearch refuses.
        unreadable: records that do not decode, of whatever day.
        problems: the first of those two, a sentence each.
        documents: what the index holds now.
    """

    index: str
    cut: tuple[TopicPartition, ...] = ()
    recreated: bool = False
    read: int = 0
    of_the_day: int = 0
    written: int = 0
    known: int = 0
    rejected: int = 0
    unreadable: int = 0
    problems: list[str] = field(default_factory=list)
    documents: int = 0


class Rebuild:
    """Takes records in, writes those of the day, and keeps the tally.

    Args:
        index: the day's index.
        alias: its alias.
        codec: decodes predictions.
        write: sends documents, as `pipeline.search.bulk.Bulk.write`.
        wait: waits so many seconds before documents are sent again.
    """

    def __init__(
        self,
        index: str,
        alias: str,
        codec: Codec,
        write: Callable[[Sequence[Document]], Sequence[Outcome]],
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.tally = Rebuilt(index)
        self._alias = alias
        self._codec = codec
        self._write = write
        self._wait = wait

    def take(self, messages: Sequence[Message]) -> None:
        """Writes the predictions of the day among these records.

        Raises:
            Retriable: Elasticsearch has not taken some of them for about a minute.
            Fatal: it lets us in no more.
        """
        self.tally.read += len(messages)
        documents = [
            found
            for message in messages
            if (found := self._document(message)) is not None and found.index == self.tally.index
        ]
        self.tally.of_the_day += len(documents)
        for wait_s in (0.0, *WAITS_S):
            self._wait(wait_s)
            documents, why = self._send(documents)
            if not documents:
                return
        raise Retriable(f"{why} Run this again when it does: what is written stays, and nothing is doubled.")

    def _document(self, message: Message) -> Document | None:
        try:
            return document(
                self._codec.decode_prediction(message.value or b""), self._alias, context_of(message.headers)
            )
        except RecordError as error:
            self.tally.unreadable += 1
            self._note(f"{message}: {error}")
            return None

    def _send(self, documents: Sequence[Document]) -> tuple[list[Document], str]:
        """Returns what is to be sent again, and why."""
        again: list[Document] = []
        why = ""
        for entry, outcome in zip(documents, self._write(documents), strict=True):
            match outcome:
                case Indexed(new=True):
                    self.tally.written += 1
                case Indexed():
                    self.tally.known += 1
                case Rejected(because):
                    self.tally.rejected += 1
                    self._note(because)
                case Backoff(because):
                    again.append(entry)
                    why = why or because
        return again, why

    def _note(self, problem: str) -> None:
        if len(self.tally.problems) < LISTED:
            self.tally.problems.append(problem)


def rebuild(
    settings: Settings,
    day: date,
    *,
    recreate: bool = False,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Rebuilt:
    """Writes what the topic of predictions holds of a day into its index.

    Args:
        settings: brokers, topics, Elasticsearch.
        day: of the events, UTC.
        recreate: deletes the index first, so that it gets today's mapping and loses what the topic does not hold.
        on_progress: is told how many offsets have been passed, and of how many.

    Raises:
        KafkaFailure: no broker answers, or the topic is missing.
        SearchFailure: Elasticsearch does not answer or refuses; or an index is to be recreated, and the topic no
            longer holds all of its day.
    """
    elasticsearch = settings.elasticsearch
    client = connect(elasticsearch)
    install(client, elasticsearch)
    writer = Bulk(client, elasticsearch.url)
    work = Rebuild(
        index_of(elasticsearch.alias, day), elasticsearch.alias, codec(settings.kafka, settings.topics), writer.write
    )
    queries = OffsetQueries(settings.kafka, ROLE)
    partitions = queries.partitions([settings.topics.predictions])
    begins, cut = _begins(queries, partitions, _earliest_ms(day, settings.join.max_skew_ms))
    work.tally.cut = cut
    if recreate:
        if cut:
            raise Fatal(
                f"{' '.join(map(str, cut))} may no longer hold all of {day}: retention has deleted records of that "
                f"time, and to recreate {work.tally.index} would lose their documents. Without --recreate, what is "
                "missing is added."
            )
        work.tally.recreated = delete_index(client, elasticsearch, work.tally.index)
    ends = queries.ends(partitions)
    ranges = {where: range(begins[where], max(begins[where], ends[where])) for where in partitions}
    at = {where.partition: offsets.start for where, offsets in ranges.items()}
    begin, total = sum(at.values()), sum(map(len, ranges.values()))
    with TopicReader(settings.kafka, ROLE) as reader:
        for batch in reader.read(ranges, elasticsearch.bulk_documents):
            work.take(batch)
            at |= {message.partition: message.offset + 1 for message in batch}
            on_progress(sum(at.values()) - begin, total)
    search = PredictionSearch(client, elasticsearch)
    search.refresh()
    work.tally.documents = search.count_in(work.tally.index)
    return work.tally


def _earliest_ms(day: date, max_skew_ms: int) -> int:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return max(0, int(start.timestamp() * 1_000) - max_skew_ms)


def _begins(
    queries: OffsetQueries, partitions: Sequence[TopicPartition], earliest_ms: int
) -> tuple[Mapping[TopicPartition, int], tuple[TopicPartition, ...]]:
    """Returns where to read from, and the partitions that began later than that once."""
    begins, kept_from = queries.since(partitions, earliest_ms), queries.begins(partitions)
    return begins, tuple(where for where in partitions if 0 < begins[where] <= kept_from[where])
