"""How far a consumer is behind, as the client knows it without asking a broker."""

from collections.abc import Mapping

from confluent_kafka import Consumer

from pipeline.kafka.contract import TopicPartition


def backlog(consumer: Consumer) -> Mapping[TopicPartition, int]:
    """Returns how many records of each assigned partition are still to be delivered, as of its last fetch.

    Control records and aborted ones are counted too. A partition that has not been fetched from is left out.
    """
    behind = {}
    for place in consumer.position(consumer.assignment()):
        ends = consumer.get_watermark_offsets(place, cached=True)
        if ends is not None and ends[1] >= 0 and place.offset >= 0:
            behind[TopicPartition(place.topic, place.partition)] = max(0, ends[1] - place.offset)
    return behind
