"""Elasticsearch's errors, translated once: what can be tried again, what is the asker's, what ends the process."""

from collections.abc import Iterator, Mapping
from typing import Any

from elastic_transport import TlsError
from elasticsearch import ApiError, TransportError, UnsupportedProductError

MAX_REASON_CHARACTERS = 500
_HALF = MAX_REASON_CHARACTERS // 2 - 2
_LATER = {408, 429, 500, 502, 503, 504}
_NEXT_STEPS = {
    401: "check elasticsearch.api_key, or elasticsearch.username and elasticsearch.password",
    403: "give this user the right to it, and see that the cluster takes writes",
    404: "check elasticsearch.url",
    405: "check elasticsearch.url",
}
_SAYS_NOTHING = "all shards failed"


class SearchFailure(Exception):
    """Something that Elasticsearch said no to. The message names the address and the next step."""


class Retriable(SearchFailure):
    """The same call may succeed later: nobody answers, or the cluster has too much to do."""


class Fatal(SearchFailure):
    """The same call will never succeed: wrong credentials, wrong address, wrong settings."""


class BadQuery(SearchFailure):
    """The query string is wrong. The message is Elasticsearch's own."""


def translated(error: ApiError | TransportError, doing: str, url: str) -> SearchFailure:
    """Returns our exception for one of the client's; `doing` says what was tried, as in "searching"."""
    start = f"While {doing} at {url}: "
    match error:
        case UnsupportedProductError():
            return Fatal(f"{start}what answers there is not Elasticsearch: check elasticsearch.url.")
        case ApiError():
            step = _NEXT_STEPS.get(error.status_code)
            message = f"{start}{reason(error.body)} (HTTP {error.status_code})" + (f": {step}." if step else ".")
            return Retriable(message) if error.status_code in _LATER else Fatal(message)
        case TlsError():
            return Fatal(f"{start}{_innermost(error)}: check the certificate and elasticsearch.url.")
        case _:
            return Retriable(
                f"{start}no answer ({_innermost(error)}): check elasticsearch.url, or run `trimodal stack up`."
            )


def reason(body: Any) -> str:
    """Returns what an error's body says, from the general to the particular, on one line.

    Args:
        body: the answer's JSON, or the `error` of one item of a bulk answer.
    """
    told: list[str] = []
    for said in _chain(body.get("error", body) if isinstance(body, Mapping) else body):
        first_line = said.strip().split("\n", 1)[0].rstrip(". ")
        if first_line and first_line != _SAYS_NOTHING and not any(first_line in earlier for earlier in told):
            told.append(first_line)
    text = ": ".join(told) or "no reason given"
    return text if len(text) <= MAX_REASON_CHARACTERS else f"{text[:_HALF]} … {text[-_HALF:]}"


def _chain(error: Any) -> Iterator[str]:
    if not isinstance(error, Mapping):
        yield str(error or "")
        return
    yield str(error.get("reason") or error.get("type") or "")
    shards = error.get("failed_shards")
    cause = shards[0].get("reason") if isinstance(shards, list) and shards else error.get("caused_by")
    if cause:
        yield from _chain(cause)


def _innermost(error: TransportError) -> str:
    """Returns the operating system's words, without the layers of clients around them."""
    cause: BaseException = error.errors[0] if error.errors and isinstance(error.errors[0], Exception) else error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    return getattr(cause, "strerror", None) or str(cause).rstrip(".") or type(error).__name__
