"""Whether the brokers answer, asked from outside the programs' own clients."""

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.kafka.clients import common
from pipeline.kafka.errors import explain
from pipeline.settings import KafkaSettings
from pipeline.telemetry.health import Finding

TIMEOUT_S = 3.0


class BrokerProbe:
    """Asks the cluster for its brokers; connects when it is first asked."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._client: AdminClient | None = None

    def __call__(self) -> Finding:
        """Returns whether a broker answers within `TIMEOUT_S`."""
        try:
            if self._client is None:
                self._client = AdminClient(common(self._settings, "health"))
            brokers = self._client.list_topics(timeout=TIMEOUT_S).brokers
        except KafkaException as error:
            return Finding(ok=False, says=f"No broker answers: {explain(error.args[0])}.")
        return Finding(ok=True, says=f"{len(brokers)} of the cluster's brokers are known, and one answers.")
