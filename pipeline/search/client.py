"""The connection to Elasticsearch."""

from elasticsearch import Elasticsearch

from pipeline.search.errors import Fatal
from pipeline.settings import ElasticsearchSettings


def connect(settings: ElasticsearchSettings) -> Elasticsearch:
    """Returns a client that tries each request once: when to try again is for its user to say.

    Nothing is sent yet. The 8.19 client asks servers 8 and 9 in the words of 8 (`compatible-with=8`).

    Raises:
        Fatal: elasticsearch.url is not an address.
    """
    basic_auth = None
    if settings.username is not None and settings.password is not None:
        basic_auth = (settings.username, settings.password)
    try:
        return Elasticsearch(
            settings.url,
            api_key=settings.api_key,
            basic_auth=basic_auth,
            request_timeout=settings.request_timeout_ms / 1_000,
            max_retries=0,
        )
    except ValueError as error:
        raise Fatal(f"elasticsearch.url = {settings.url!r} is not an address ({error}).") from error
