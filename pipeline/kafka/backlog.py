"""How far a consumer is behind, as the client knows it without asking a broker."""

from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaException

from pipeline.kafka.contract import TopicPartition


def backlog(consumer: Consumer, delivered: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
    """Returns how many records of each assigned partition are still to be delivered, as of its last fetch.

    Control records and aborted ones before the last record are counted too. A partition of which that is not known is
    left out.

    Args:
        consumer: the client.
        delivered: offsets below which everything has been delivered, where that is known: the client knows a
            partition's position only from its first delivery on, and not that only markers of transactions follow.
    """
    behind = {}
    try:
        for place in consumer.position(consumer.assignment()):
            where = TopicPartition(place.topic, place.partition)
            at = max(place.offset, delivered.get(where, -1))
            ends = consumer.get_watermark_offsets(place, cached=True)
            if at >= 0 and ends is not None and ends[1] >= 0:
                behind[where] = max(0, ends[1] - at)
    except KafkaException:
        return {}  # whatever it is, the next poll says so
    return behind
