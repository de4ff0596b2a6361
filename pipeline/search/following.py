"""Documents as they come into the indices behind the alias."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pipeline.search import documents
from pipeline.search.queries import PredictionSearch, TimeRange, filtered

SETTLE_S = 5.0
PAGE = 1_000
MAX_INDICES = 10_000

SeqNos = dict[str, int]


class Follower:
    """Finds what was indexed since it was made, new revisions of known predictions included.

    An index numbers what is written to it (`_seq_no`), and what is new has a higher number. The numbers are given
    out before the documents can be searched, so a lower one may show up after a higher: those of the last
    `SETTLE_S` are asked for again, and nothing is told twice.

    Args:
        search: where to look.
        query: a query string, as for `PredictionSearch.search`.
        times: of the events.
        from_beginning: begins with what is there already.
        clock: seconds that only rise.

    Raises:
        BadQuery: the query string does not parse.
    """

    def __init__(
        self,
        search: PredictionSearch,
        query: str,
        times: TimeRange,
        *,
        from_beginning: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._search = search
        self._wanted = filtered(query, times)
        self._clock = clock
        self._newest: SeqNos = {} if from_beginning else self._there()
        self._settled: SeqNos = dict(self._newest)
        self._unsettled: deque[tuple[float, SeqNos]] = deque()
        self._told: set[tuple[str, int]] = set()

    def new(self) -> Sequence[documents.Hit]:
        """Returns the predictions that have become searchable since the last call, the oldest event first.

        Raises:
            Retriable: Elasticsearch does not answer; nothing is lost by asking again.
            SearchFailure: it refuses.
        """
        began_s = self._clock()
        found = []
        newest = dict(self._newest)
        for hit in self._hits():
            index, number = hit["_index"], hit["_seq_no"]
            newest[index] = max(number, newest.get(index, -1))
            if (index, number) not in self._told:
                self._told.add((index, number))
                found.append(documents.hit(hit["_source"]))
        self._newest = newest
        self._settle(began_s)
        return sorted(found, key=lambda hit: (hit.prediction.event_time_ms, hit.prediction.prediction_id))

    def _there(self) -> SeqNos:
        answer = self._search.ask(
            query=self._wanted,
            size=0,
            aggregations={
                "everything": {
                    "global": {},
                    "aggregations": {
                        "indices": {
                            "terms": {"field": "_index", "size": MAX_INDICES},
                            "aggregations": {"newest": {"max": {"field": "_seq_no"}}},
                        }
                    },
                }
            },
        )
        # Without any index there are no aggregations either.
        buckets = answer.get("aggregations", {}).get("everything", {}).get("indices", {}).get("buckets", [])
        return {bucket["key"]: int(bucket["newest"]["value"]) for bucket in buckets}

    def _hits(self) -> Iterator[Mapping[str, Any]]:
        query = {"bool": {"filter": [self._wanted, {"bool": {"should": self._unsettled_parts()}}]}}
        after: dict[str, Any] = {}
        while True:
            answer = self._search.ask(
                query=query,
                size=PAGE,
                seq_no_primary_term=True,
                sort=[{"_seq_no": "asc"}, {"prediction_id": "asc"}],
                **after,
            )
            hits = answer["hits"]["hits"]
            yield from hits
            if len(hits) < PAGE:
                return
            after = {"search_after": hits[-1]["sort"]}

    def _unsettled_parts(self) -> list[dict[str, Any]]:
        known: list[dict[str, Any]] = [
            {"bool": {"filter": [{"term": {"_index": index}}, {"range": {"_seq_no": {"gt": number}}}]}}
            for index, number in self._settled.items()
        ]
        return [*known, {"bool": {"must_not": {"terms": {"_index": list(self._settled)}}}}]

    def _settle(self, began_s: float) -> None:
        self._unsettled.append((began_s, dict(self._newest)))
        while self._unsettled and self._unsettled[0][0] <= began_s - SETTLE_S:
            self._settled = self._unsettled.popleft()[1]
        self._told = {(index, number) for index, number in self._told if number > self._settled.get(index, -1)}
