"""Dead letters published again: the original record, to its own topic, with headers that name the first attempt.

What has been retried already is found where it went, so that no store is needed. A retry carries the place of its
letter in a header, has the letter's key, and comes after the letter: so each key's partition of its source topic is
read from the broker's time of the oldest letter on. This does not see retries that retention has deleted since, or
that went to another partition before the topic was given more of them, or that are published at the same time.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from pipeline.events.codec import Codec
from pipeline.events.errors import Undecodable
from pipeline.events.records import DeadLetter, Headers, Modality, SourceOffset
from pipeline.join.inspection import MAX_KEY_BYTES
from pipeline.join.partitioner import partition_of
from pipeline.kafka.contract import Output, TopicPartition
from pipeline.kafka.letters import DeadLetters, Placed
from pipeline.kafka.offsets import OffsetQueries
from pipeline.kafka.producer import RecordProducer
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.registry import codec
from pipeline.kafka.topics import source_message_bytes
from pipeline.settings import Settings, TopicSettings

ROLE = "retry"
RETRY_OF = "trimodal-retry-of"
"""Header of a retry: the place of the dead letter that it was published from."""
RETRY_COUNT = "trimodal-retry-count"
"""Header of a retry: 1 for the first, 2 for a retry of that, and so on."""
FIRST_ATTEMPT = "trimodal-first-attempt"
"""Header of a retry, also of a retry of a retry: the place of the source record that was tried first."""
CLOCK_MARGIN_MS = 60_000
"""How far the clocks of two brokers may be apart without a retry being overlooked."""

_OURS = {RETRY_OF, RETRY_COUNT, FIRST_ATTEMPT}


@dataclass(frozen=True, slots=True)
class Refused:
    """A letter that is not retried. `why` is a sentence with the next step."""

    letter: SourceOffset
    why: str


@dataclass(frozen=True, slots=True)
class Retry:
    """A letter that can be retried. Its value is not kept: it is read again when it is published.

    Attributes:
        letter: where it stands.
        taken_ms: the broker's time of the letter.
        topic: the source topic that the original goes to.
        key: the original's key.
    """

    letter: SourceOffset
    taken_ms: int
    topic: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Terms:
    """How letters are retried.

    Attributes:
        event_time_ms: given to every event in place of its own; None keeps that.
        again: whether a letter that has been retried is retried once more.
        limit: most records that are published; None for all.
    """

    event_time_ms: int | None = None
    again: bool = False
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be published, the oldest letter first, and what not."""

    retries: tuple[Retry, ...]
    refused: tuple[Refused, ...]


def prepared(placed: Placed, topics: TopicSettings, codec: Codec, event_time_ms: int | None = None) -> Output | Refused:
    """Returns the record to publish for a letter. Pure.

    Args:
        placed: the letter and its place.
        topics: names the source topics.
        codec: reads and writes the event, if it is given a new time.
        event_time_ms: the new event time; None keeps the original value byte by byte.
    """
    letter, place = placed.letter, placed.place
    if why := _hindrance(letter, topics):
        return Refused(place, why)
    topic, value = letter.sources[0].topic, letter.value
    assert value is not None
    if event_time_ms is not None:
        try:
            event = codec.decode_event(Modality(topics.sources.index(topic)), value)
        except Undecodable as error:
            return Refused(place, f"Its value does not decode, so it cannot be given another event time. {error}")
        value = codec.encode_event(replace(event, event_time_ms=event_time_ms))
    return Output(topic, letter.key, value, _headers(letter, place))


def settled(candidates: Iterable[Retry], earlier: Mapping[SourceOffset, SourceOffset], terms: Terms) -> Plan:
    """Returns the plan for letters that could be retried. Pure.

    Args:
        candidates: the letters.
        earlier: letters that have been retried, and where the retry stands.
        terms: with a new event time for all, only one record of a key and topic fits into one moment.
    """
    retries: list[Retry] = []
    refused: list[Refused] = []
    moments: set[tuple[str, bytes]] = set()
    for retry in sorted(candidates, key=lambda retry: (retry.taken_ms, str(retry.letter))):
        moment = (retry.topic, retry.key)
        if (at := earlier.get(retry.letter)) is not None and not terms.again:
            refused.append(Refused(retry.letter, f"It was retried as {at}: --again publishes it once more."))
        elif terms.event_time_ms is not None and moment in moments:
            why = (
                f"Another {retry.topic} record of its key gets the same event time, so it would be a DUPLICATE: "
                "retry it after join.window_ms."
            )
            refused.append(Refused(retry.letter, why))
        elif terms.limit is None or len(retries) < terms.limit:
            moments.add(moment)
            retries.append(retry)
    return Plan(tuple(retries), tuple(refused))


def plan(settings: Settings, letters: Iterable[Placed], terms: Terms) -> Plan:
    """Returns what a retry of these letters would publish; reads the source topics for earlier retries.

    Raises:
        KafkaFailure: no broker answers, or a source topic is missing.
    """
    records = codec(settings.kafka, settings.topics)
    candidates: list[Retry] = []
    refused: list[Refused] = []
    for placed in letters:
        match prepared(placed, settings.topics, records, terms.event_time_ms):
            case Refused() as no:
                refused.append(no)
            case Output(topic, key):
                assert key is not None
                candidates.append(Retry(placed.place, placed.message.timestamp_ms, topic, key))
    outcome = settled(candidates, _earlier(settings, candidates), terms)
    return Plan(outcome.retries, (*refused, *outcome.refused))


def publish(
    settings: Settings, letters: DeadLetters, retries: Collection[Retry], event_time_ms: int | None = None
) -> int:
    """Publishes these retries and returns how many; fewer if retention has deleted letters meanwhile.

    Args:
        settings: brokers and topics.
        letters: where their values are read from.
        retries: what a plan says.
        event_time_ms: given to every event in place of its own; None keeps that.

    Raises:
        Undelivered: records were given up; those that arrived are found by the next plan.
    """
    records = codec(settings.kafka, settings.topics)
    count = 0
    with RecordProducer(settings.kafka, ROLE, source_message_bytes(settings.topics)) as producer:
        for placed in letters.at([retry.letter for retry in retries]):
            output = prepared(placed, settings.topics, records, event_time_ms)
            assert isinstance(output, Output)
            producer.publish(output)
            count += 1
    return count


def _hindrance(letter: DeadLetter, topics: TopicSettings) -> str | None:
    foreign = sorted({source.topic for source in letter.sources} - set(topics.sources))
    if foreign == [topics.predictions]:
        return (
            "It is a prediction that could not be indexed, no source record: mend the cause, then set the indexer's "
            "group back, so that it reads the predictions again."
        )
    if foreign or len(letter.sources) != 1:
        listed = ", ".join(map(str, letter.sources)) or "no record"
        return f"It accounts for {listed}, not for one record of {', '.join(topics.sources)}: look at topics.prefix."
    if letter.value is None:
        return (
            f"Its original value is not in it: it was null, or larger than topics.max_record_bytes "
            f"({topics.max_record_bytes:,}). Publish the event anew."
        )
    return _key_hindrance(letter.key)


def _key_hindrance(key: bytes | None) -> str | None:
    if not key:
        return "It has no key, by which events are joined: publish the event anew with one."
    try:
        key.decode()
    except UnicodeDecodeError:
        return "Its key is not UTF-8, so it would be INVALID again: publish the event anew."
    if len(key) > MAX_KEY_BYTES:
        return f"Its key has {len(key):,} bytes, and {MAX_KEY_BYTES} are allowed: publish the event anew."
    return None


def _headers(letter: DeadLetter, place: SourceOffset) -> Headers:
    kept = tuple((name, value) for name, value in letter.headers.items() if name not in _OURS)
    before = letter.headers.get(RETRY_COUNT, b"0")
    count = (int(before) if before.isdigit() else 0) + 1
    own = {RETRY_OF: str(place).encode(), RETRY_COUNT: str(count).encode()}
    if first := letter.headers.get(FIRST_ATTEMPT) or ", ".join(map(str, letter.sources)).encode():
        own[FIRST_ATTEMPT] = first
    return kept + tuple(own.items())


def _earlier(settings: Settings, candidates: Sequence[Retry]) -> dict[SourceOffset, SourceOffset]:
    """Returns the letters among the candidates that have been retried, with the newest retry of each."""
    queries = OffsetQueries(settings.kafka, ROLE)
    partitions = queries.partitions(settings.topics.sources)
    if not candidates:
        return {}
    counts = {topic: sum(where.topic == topic for where in partitions) for topic in settings.topics.sources}
    places = {TopicPartition(retry.topic, partition_of(retry.key, counts[retry.topic])) for retry in candidates}
    begins = queries.since(places, min(retry.taken_ms for retry in candidates) - CLOCK_MARGIN_MS)
    ends = queries.ends(places, written=True)
    named = {str(retry.letter).encode(): retry.letter for retry in candidates}
    found: dict[SourceOffset, SourceOffset] = {}
    with TopicReader(settings.kafka, ROLE) as reader:
        batches = reader.read({where: range(begins[where], ends[where]) for where in places})
        for message in chain.from_iterable(batches):
            for name, value in message.headers:
                if name == RETRY_OF and (letter := named.get(value)) is not None:
                    found[letter] = SourceOffset(message.topic, message.partition, message.offset)
    return found
