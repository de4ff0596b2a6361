"""Kafka's errors, translated once: what can be tried again, what needs an abort, what ends the process."""

from confluent_kafka import KafkaError, KafkaException


class KafkaFailure(Exception):
    """Something that Kafka said no to. The message names the broker, topic or setting and the next step."""


class Retriable(KafkaFailure):
    """The same call may succeed later."""


class AbortNeeded(KafkaFailure):
    """The transaction did not commit: drop what was in it and go back to what is committed."""


class Fatal(KafkaFailure):
    """This client is of no more use. Transactions make it safe to end the process and start again."""


class Fenced(Fatal):
    """Another producer has taken this transactional id, or the broker has timed our transaction out."""


_NEXT_STEPS = {
    KafkaError._ALL_BROKERS_DOWN: "check kafka.bootstrap_servers, or run `trimodal stack up`",
    KafkaError._TRANSPORT: "check kafka.bootstrap_servers, or run `trimodal stack up`",
    KafkaError._RESOLVE: "check the host names in kafka.bootstrap_servers",
    KafkaError._AUTHENTICATION: "check sasl.* in kafka.client_options",
    KafkaError._SSL: "check ssl.* in kafka.client_options",
    KafkaError._INVALID_ARG: "check kafka.client_options",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "run `trimodal topics create`",
    KafkaError._UNKNOWN_TOPIC: "run `trimodal topics create`",
    KafkaError._UNKNOWN_PARTITION: "run `trimodal topics create`",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "give this principal the right to the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "give this principal the right to kafka.group",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "give this principal the right to its transactional id",
    KafkaError.MSG_SIZE_TOO_LARGE: "raise topics.max_record_bytes and the topic's max.message.bytes",
    KafkaError.FENCED_INSTANCE_ID: "another process runs with this name: give each its own --replica",
    KafkaError._FENCED: "another process runs with this name: give each its own --replica",
}
LEADERSHIP_MOVES = {
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}
"""What brokers answer while partitions and groups get other brokers, or theirs is only just starting."""

# Says that a broker's connection was given up for a newer one; younger than the oldest client that we take.
_DESTROY_BROKER = getattr(KafkaError, "_DESTROY_BROKER", KafkaError._DESTROY)
_PASSING = LEADERSHIP_MOVES | {
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._WAIT_COORD,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    _DESTROY_BROKER,
}
# Of topics that were checked at the start: a broker that does not know them is one that is only just starting.
UNKNOWN_FOR_NOW = {
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}
_FENCING = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}


def is_passing(error: KafkaError) -> bool:
    """Returns whether the same call may succeed later: the client says so, or leadership moves, or nobody answers."""
    if error.fatal() or error.txn_requires_abort() or error.code() in _FENCING:
        return False
    return error.retriable() or error.code() in _PASSING


def explain(error: KafkaError) -> str:
    """Returns a sentence: the client's own words and, where known, the next step."""
    said = error.str() or error.name()
    is_fenced_member = error.code() == KafkaError._FATAL and "group.instance.id" in said  # its code is in the text only
    step = _NEXT_STEPS.get(KafkaError.FENCED_INSTANCE_ID if is_fenced_member else error.code())
    return f"{said} ({error.name()})" + (f": {step}" if step else "")


def translated(problem: KafkaException | KafkaError, doing: str) -> KafkaFailure:
    """Returns our exception for one of the client's; `doing` says what was tried, as in "committing"."""
    error = problem.args[0] if isinstance(problem, KafkaException) else problem
    message = f"While {doing}: {explain(error)}."
    if error.code() in _FENCING:
        return Fenced(message)
    if error.txn_requires_abort():
        return AbortNeeded(message)
    return Retriable(message) if is_passing(error) else Fatal(message)


def unanswered(doing: str, timeout_s: float) -> Retriable:
    """Returns our exception for an answer that the client's future does not have in time."""
    return Retriable(f"While {doing}: no answer in {timeout_s:g} s: are all brokers up?")
