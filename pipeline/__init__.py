"""trimodal: joins speech, image and sensor events on Kafka and classifies them, each record exactly once."""
