"""What would keep Kibana from showing a file of saved objects over the indices of predictions."""

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.search.template import MAPPINGS

Json = Mapping[str, Any]

RECORDS = "___records___"
NUMBERS = {"integer", "long", "float"}
ALLOWED = {
    "average": NUMBERS,
    "percentile": NUMBERS,
    "range": NUMBERS,
    "terms": {"keyword", *NUMBERS},
    "date_histogram": {"date"},
}
"""Types of a field that an operation of Lens works on."""
CORE_VERSION = (8, 19, 0)
TYPE_VERSIONS = {"index-pattern": (8, 0, 0), "lens": (8, 9, 0), "search": (10, 0, 0), "dashboard": (10, 3, 0)}
"""The newest that Kibana 8.19 knows at least: it refuses an object of a newer version, and migrates an older one."""
GRID_WIDTH = 48
_KQL_FIELD = re.compile(r"([\w.]+)\s*(?::|[<>]=?)")


def problems(objects: Sequence[Json]) -> list[str]:
    """Returns a sentence for each thing that is wrong."""
    return [problem for entry in objects for problem in _problems(entry, objects)]


def field_types(properties: Json = MAPPINGS["properties"], prefix: str = "") -> dict[str, str]:
    """Returns every field of the index template with its type."""
    types = {}
    for name, field in properties.items():
        types[f"{prefix}{name}"] = field["type"]
        types |= field_types(field.get("properties", {}), f"{prefix}{name}.")
    return types


def _problems(entry: Json, objects: Sequence[Json]) -> Iterator[str]:
    kind, name, attributes = entry["type"], entry["id"], entry["attributes"]
    known = {(other["type"], other["id"]) for other in objects}
    for reference in entry["references"]:
        if (reference["type"], reference["id"]) not in known:
            yield f"{name}: no {reference['type']} {reference['id']} is in the file"
    if _version(entry["coreMigrationVersion"]) > CORE_VERSION:
        yield f"{name}: of a newer Kibana"
    if _version(entry["typeMigrationVersion"]) > TYPE_VERSIONS[kind]:
        yield f"{name}: {kind} of a newer Kibana"
    names = {reference["name"] for reference in entry["references"]}
    match kind:
        case "index-pattern":
            found = _data_view(attributes)
        case "search":
            found = _search(attributes, names)
        case "lens":
            found = _lens(attributes, names)
        case _:
            found = _dashboard(attributes, names)
    for problem in found:
        yield f"{name}: {problem}"


def _data_view(attributes: Json) -> Iterator[str]:
    yield from _field(attributes["timeFieldName"], {"date"}, "its time field")
    for field in json.loads(attributes["fieldFormatMap"]):
        yield from _field(field, None, "a format")


def _search(attributes: Json, names: set[str]) -> Iterator[str]:
    for field in (*attributes["columns"], *(field for field, _ in attributes["sort"])):
        yield from _field(field, None, "a column")
    yield from _source(attributes, names)


def _source(attributes: Json, names: set[str]) -> Iterator[str]:
    source = json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])
    if (index := source.get("indexRefName")) is not None and index not in names:
        yield f"no reference is called {index}"
    yield from _query(source["query"])


def _lens(attributes: Json, names: set[str]) -> Iterator[str]:
    state = attributes["state"]
    yield from _query(state["query"])
    layers = state["datasourceStates"]["formBased"]["layers"]
    charts = state["visualization"].get("layers", [state["visualization"]])
    if {chart["layerId"] for chart in charts} != layers.keys():
        yield "its chart shows other layers than it has"
    for name, layer in layers.items():
        if f"indexpattern-datasource-layer-{name}" not in names:
            yield f"no data view for the layer {name}"
        if set(layer["columnOrder"]) != layer["columns"].keys():
            yield "its columns and their order differ"
        for column in layer["columns"].values():
            yield from _column(column)
        shown = {column for chart in charts for column in _shown(chart)}
        if shown != layer["columns"].keys():
            yield f"its chart shows {sorted(shown)} of {sorted(layer['columns'])}"


def _shown(chart: Json) -> Iterator[str]:
    for role in ("xAccessor", "splitAccessor", "metricAccessor"):
        if role in chart:
            yield chart[role]
    yield from chart.get("accessors", [])
    for column in chart.get("columns", []):
        yield column["columnId"]


def _column(column: Json) -> Iterator[str]:
    operation = column["operationType"]
    if "filter" in column:
        yield from _query(column["filter"])
    if operation == "filters":
        for part in column["params"]["filters"]:
            yield from _query(part["input"])
    elif operation == "count":
        if column["sourceField"] != RECORDS:
            yield "count is of records"
    elif operation not in ALLOWED:
        yield f"{operation} is not known here: add the types it works on"
    else:
        yield from _field(column["sourceField"], ALLOWED[operation], operation)


def _query(query: Json) -> Iterator[str]:
    if query["language"] != "kuery":
        yield f"a query in {query['language']}"
    for field in _KQL_FIELD.findall(query["query"]):
        yield from _field(field, None, "a query")


def _field(field: str, types: set[str] | None, use: str) -> Iterator[str]:
    type_ = field_types().get(field)
    if type_ is None:
        yield f"{use} names {field}, and the index template has no such field"
    elif types is not None and type_ not in types:
        yield f"{use} of {field}, which is {type_}"


def _dashboard(attributes: Json, names: set[str]) -> Iterator[str]:
    yield from _source(attributes, names)
    taken: set[tuple[int, int]] = set()
    panels = json.loads(attributes["panelsJSON"])
    for panel in panels:
        place, name = panel["gridData"], panel["panelIndex"]
        if f"{name}:{panel['panelRefName']}" not in names:
            yield f"no reference for the panel {name}"
        if place["i"] != name:
            yield f"the panel {name} is placed as {place['i']}"
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        cells = set(itertools.product(columns, rows))
        if cells & taken or columns.stop > GRID_WIDTH:
            yield f"the panel {name} overlaps or leaves the grid"
        taken |= cells
    if len(panels) != len(names):
        yield "it refers to more than it shows"


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))
