"""Writes documents in bulk, each with its own outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from elasticsearch import ApiError, Elasticsearch, TransportError

from pipeline.search.documents import Document
from pipeline.search.errors import Retriable, reason, translated

_WANTED = ["items.index.status", "items.index.error"]
_WRITTEN = {200, 201}
_BAD_REQUEST = 400
_KNOWN = 409  # this revision is there, or a newer one
_TOO_LARGE = 413
_NOT_THE_DOCUMENTS_FAULT = {
    "validation_exception": "the cluster has no room for another shard",
    "index_closed_exception": "the index is closed",
}


@dataclass(frozen=True, slots=True)
class Indexed:
    """The document is there, durably; `new` is False if this revision or a newer one was there before."""

    new: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """Elasticsearch will never take this document; `why` is a sentence."""

    why: str


@dataclass(frozen=True, slots=True)
class Backoff:
    """The document is to be sent again after a wait; `why` is a sentence."""

    why: str


Outcome = Indexed | Rejected | Backoff


class Bulk:
    """Writes documents that are not there yet in this revision or a newer one.

    Args:
        client: from `pipeline.search.client.connect`.
        url: its address, for messages.
    """

    def __init__(self, client: Elasticsearch, url: str) -> None:
        self._client = client
        self._url = url

    def write(self, documents: Sequence[Document]) -> tuple[Outcome, ...]:
        """Sends the documents in one request and returns an outcome for each, in their order.

        A request that is refused as a whole, for one document's id or for its size, is halved until the culprit is
        alone. An answer that got lost does no harm: the second time the document is already there.

        Raises:
            Fatal: Elasticsearch lets us in no more (credentials, rights, address).
        """
        if not documents:
            return ()
        try:
            answer = self._client.bulk(
                operations=_operations(documents),  # type: ignore[arg-type]  # lines of bytes are sent as they are
                filter_path=_WANTED,
            )
        except ApiError as error:
            if error.status_code not in {_BAD_REQUEST, _TOO_LARGE}:
                return self._later(error, documents)
            if len(documents) == 1:
                return (_refused(documents[0], reason(error.body)),)
            middle = len(documents) // 2
            return self.write(documents[:middle]) + self.write(documents[middle:])
        except TransportError as error:
            return self._later(error, documents)
        items = (item["index"] for item in answer["items"])
        return tuple(_outcome(document, item) for document, item in zip(documents, items, strict=True))

    def _later(self, error: ApiError | TransportError, documents: Sequence[Document]) -> tuple[Outcome, ...]:
        failure = translated(error, f"indexing {len(documents)} documents", self._url)
        if not isinstance(failure, Retriable):
            raise failure from error
        return (Backoff(str(failure)),) * len(documents)


def _operations(documents: Sequence[Document]) -> list[bytes]:
    return [orjson.dumps(line) for document in documents for line in (_action(document), document.body)]


def _action(document: Document) -> Mapping[str, Any]:
    """Returns the request to write a document unless a version as new is there (external versioning)."""
    place = {"_index": document.index, "_id": document.document_id}
    return {"index": {**place, "version": document.version, "version_type": "external"}}


def _outcome(document: Document, item: Mapping[str, Any]) -> Outcome:
    status, error = item["status"], item.get("error", {})
    if status in _WRITTEN or status == _KNOWN:
        return Indexed(new=status in _WRITTEN)
    condition = _NOT_THE_DOCUMENTS_FAULT.get(error.get("type", ""))
    if status == _BAD_REQUEST and condition is None:
        return _refused(document, reason(error))
    because = f", {condition}" if condition else ""
    return Backoff(f"Elasticsearch cannot take {document} now (HTTP {status}{because}): {reason(error)}.")


def _refused(document: Document, because: str) -> Rejected:
    return Rejected(
        f"Elasticsearch refuses the document {document}: {because}. "
        "Correct what published it, or the mapping of its index, and publish it again."
    )
