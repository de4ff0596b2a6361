"""Whether Elasticsearch answers."""

from elasticsearch import ApiError, Elasticsearch, TransportError

from pipeline.search.errors import reason
from pipeline.telemetry.health import Finding

TIMEOUT_S = 3.0
_FORBIDDEN = 403


class ElasticsearchProbe:
    """Asks the cluster for its health.

    Args:
        client: from `pipeline.search.client.connect`.
        url: its address, for sentences.
    """

    def __init__(self, client: Elasticsearch, url: str) -> None:
        self._client = client.options(request_timeout=TIMEOUT_S)
        self._url = url

    def __call__(self) -> Finding:
        """Returns whether it answers within `TIMEOUT_S`, and whether it can take documents."""
        try:
            status = self._client.cluster.health(filter_path=["status"])["status"]
        except ApiError as error:
            if error.status_code == _FORBIDDEN:
                return Finding(ok=True, says=f"{self._url} answers; our user may not ask for the cluster's health.")
            return Finding(ok=False, says=f"{self._url} answers HTTP {error.status_code}: {reason(error.body)}.")
        except TransportError as error:
            return Finding(ok=False, says=f"{self._url} does not answer ({error.message}): check elasticsearch.url.")
        return Finding(ok=status != "red", says=f"{self._url} answers; the cluster is {status}.")
