"""Kafka: the only place that imports confluent_kafka, and where its errors become ours."""
