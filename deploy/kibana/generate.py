"""Writes `trimodal.ndjson`: `python -m deploy.kibana.generate`.

The shapes are those of Kibana's own exports since 8.8 (data view, Lens, dashboard, saved search); a newer Kibana brings
them up to date when it imports them, by their migration versions. What is where: `LAYOUT` is the dashboard, each
function above it one of its panels; `lens` is how Lens spells columns and charts.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from deploy.kibana.lens import (
    LAYER,
    MILLISECONDS,
    PERCENT,
    TIME_FIELD,
    Json,
    average,
    count,
    filters,
    histogram,
    kql,
    metric,
    over_time,
    percentile,
    table,
    terms,
    xy,
)

FILE = Path(__file__).with_name("trimodal.ndjson")
DATA_VIEW = "trimodal-predictions"
SEARCH = "trimodal-latest"
DASHBOARD = "trimodal-overview"
INDEX_OF_SEARCH = "kibanaSavedObjectMeta.searchSourceJSON.index"
CORE_VERSION = "8.8.0"
VERSIONS = {"index-pattern": "8.0.0", "lens": "8.9.0", "search": "8.0.0", "dashboard": "8.9.0"}

ALL_THREE = "modalities : speech and modalities : image and modalities : sensor"

Place = tuple[int, int, int, int]
Placed = tuple[str, str, Place]
"""A panel's kind, its id and its place."""


# Panels.


def answered() -> Json:
    return metric("Predictions", count())


def mean_confidence() -> Json:
    return metric("Mean confidence", average("confidence", "Mean confidence", PERCENT))


def latency_p99() -> Json:
    return metric("Latency, 99th percentile", percentile("latency_ms", 99, "99 % answered within", MILLISECONDS))


def partial_now() -> Json:
    return metric("Partial, not amended", {**count(), "filter": kql(f"revision : 0 and not ({ALL_THREE})")})


def per_minute_by_label() -> Json:
    return xy(
        "Predictions per minute by label",
        {"time": over_time(), "label": terms("label", 20), "count": {**count(), "timeScale": "m"}},
        "bar_stacked",
    )


def confidence_distribution() -> Json:
    return xy("Confidence distribution", {"confidence": histogram("confidence"), "count": count()}, "bar_stacked")


def modalities_used() -> Json:
    sets = {
        "speech + image + sensor": ALL_THREE,
        "speech + image": "modalities : speech and modalities : image and not modalities : sensor",
        "speech + sensor": "modalities : speech and modalities : sensor and not modalities : image",
        "image + sensor": "modalities : image and modalities : sensor and not modalities : speech",
        "only speech": "modalities : speech and not modalities : image and not modalities : sensor",
        "only image": "modalities : image and not modalities : speech and not modalities : sensor",
        "only sensor": "modalities : sensor and not modalities : speech and not modalities : image",
    }
    return xy(
        "Modalities used",
        {"time": over_time(), "set": filters("Inputs", sets), "count": count()},
        "area_percentage_stacked",
    )


def latency_percentiles() -> Json:
    marks = {f"p{p}": percentile("latency_ms", p, f"{p} % within", MILLISECONDS) for p in (50, 95, 99)}
    return xy("Latency percentiles", {"time": over_time(), **marks}, "line")


def partials_and_amendments() -> Json:
    kinds = {
        "all three at once": f"revision : 0 and {ALL_THREE}",
        "partial": f"revision : 0 and not ({ALL_THREE})",
        "amended": "revision > 0",
    }
    return xy(
        "Partials and amendments",
        {"time": over_time(), "kind": filters("Answer", kinds), "count": count()},
        "bar_stacked",
    )


def model_versions() -> Json:
    return table(
        "Model versions side by side",
        {
            "model": terms("model", 10),
            "version": terms("model_version", 10),
            "count": count(),
            "confidence": average("confidence", "Mean confidence", PERCENT),
            "p50": percentile("latency_ms", 50, "Latency p50", MILLISECONDS),
            "p99": percentile("latency_ms", 99, "Latency p99", MILLISECONDS),
        },
    )


def confidence_by_version() -> Json:
    return xy(
        "Mean confidence by model version",
        {
            "time": over_time(),
            "version": terms("model_version", 10),
            "confidence": average("confidence", "Mean confidence", PERCENT),
        },
        "line",
    )


LAYOUT = [
    # panel, (x, y, width, height); the grid is 48 wide
    (answered, (0, 0, 12, 6)),
    (mean_confidence, (12, 0, 12, 6)),
    (latency_p99, (24, 0, 12, 6)),
    (partial_now, (36, 0, 12, 6)),
    (per_minute_by_label, (0, 6, 24, 13)),
    (confidence_distribution, (24, 6, 24, 13)),
    (modalities_used, (0, 19, 24, 13)),
    (latency_percentiles, (24, 19, 24, 13)),
    (partials_and_amendments, (0, 32, 24, 13)),
    (confidence_by_version, (24, 32, 24, 13)),
    (model_versions, (0, 45, 48, 10)),
]
LATEST = (0, 55, 48, 18)


# Saved objects.


def saved_object(kind: str, name: str, attributes: Json, references: list[Json]) -> Json:
    return {
        "attributes": attributes,
        "coreMigrationVersion": CORE_VERSION,
        "id": name,
        "managed": False,
        "references": references,
        "type": kind,
        "typeMigrationVersion": VERSIONS[kind],
    }


def reference(kind: str, name: str, as_: str) -> Json:
    return {"id": name, "name": as_, "type": kind}


def data_view() -> Json:
    formats = {"confidence": {"id": "percent", "params": {"pattern": "0.0%"}}}
    attributes = {
        "title": "predictions",
        "name": "trimodal predictions",
        "timeFieldName": TIME_FIELD,
        "fieldFormatMap": json.dumps(formats),
        "fieldAttrs": "{}",
        "fields": "[]",
        "runtimeFieldMap": "{}",
        "sourceFilters": "[]",
        "typeMeta": "{}",
    }
    return saved_object("index-pattern", DATA_VIEW, attributes, [])


def latest() -> Json:
    source = {"query": kql(""), "filter": [], "indexRefName": INDEX_OF_SEARCH}
    attributes = {
        "title": "trimodal: latest predictions",
        "description": "Every document, the newest event first.",
        "columns": ["key", "label", "confidence", "modalities", "revision", "latency_ms", "model_version", "trace_id"],
        "sort": [[TIME_FIELD, "desc"]],
        "grid": {},
        "hideChart": True,
        "isTextBasedQuery": False,
        "timeRestore": False,
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(source)},
    }
    return saved_object("search", SEARCH, attributes, [reference("index-pattern", DATA_VIEW, INDEX_OF_SEARCH)])


def dashboard(panels: list[Placed]) -> Json:
    """Returns the dashboard."""
    placed = [
        {
            "version": CORE_VERSION,
            "type": kind,
            "gridData": {"x": x, "y": y, "w": width, "h": height, "i": name},
            "panelIndex": name,
            "embeddableConfig": {"enhancements": {}},
            "panelRefName": f"panel_{name}",
        }
        for kind, name, (x, y, width, height) in panels
    ]
    options = {"useMargins": True, "syncColors": True, "syncCursor": True, "syncTooltips": False}
    attributes = {
        "title": "trimodal: predictions",
        "description": "What the pipeline answers: how much, how sure, how fast, from which inputs and by which model.",
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps({"query": kql(""), "filter": []})},
        "optionsJSON": json.dumps({**options, "hidePanelTitles": False}),
        "panelsJSON": json.dumps(placed),
        "timeRestore": True,
        "timeFrom": "now-1h",
        "timeTo": "now",
        "refreshInterval": {"pause": False, "value": 10_000},
        "version": 1,
    }
    return saved_object(
        "dashboard", DASHBOARD, attributes, [reference(kind, name, f"{name}:panel_{name}") for kind, name, _ in panels]
    )


def saved_objects() -> Iterator[Json]:
    """Yields every line of the file, what is referred to first."""
    yield data_view()
    panels: list[Placed] = []
    for panel, place in LAYOUT:
        name = f"trimodal-{panel.__name__.replace('_', '-')}"
        yield saved_object(
            "lens", name, panel(), [reference("index-pattern", DATA_VIEW, f"indexpattern-datasource-layer-{LAYER}")]
        )
        panels.append(("lens", name, place))
    yield latest()
    yield dashboard([*panels, ("search", SEARCH, LATEST)])


def text() -> str:
    """Returns the file's content."""
    return "".join(f"{json.dumps(entry, sort_keys=True)}\n" for entry in saved_objects())


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
