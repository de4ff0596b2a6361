"""How Kibana's Lens spells columns and charts."""

from typing import Any

LAYER = "layer"
TIME_FIELD = "event_time"

Json = dict[str, Any]


# Columns of Lens.

PERCENT = {"id": "percent", "params": {"decimals": 1}}
MILLISECONDS = {"id": "number", "params": {"decimals": 0, "suffix": " ms"}}


def count() -> Json:
    return {
        "label": "Predictions",
        "dataType": "number",
        "operationType": "count",
        "isBucketed": False,
        "scale": "ratio",
        "sourceField": "___records___",
        "params": {"emptyAsNull": False},
        "customLabel": True,
    }


def average(field: str, label: str, format_: Json) -> Json:
    return _number("average", field, label, {"format": format_})


def percentile(field: str, percent: int, label: str, format_: Json) -> Json:
    return _number("percentile", field, label, {"percentile": percent, "format": format_})


def _number(operation: str, field: str, label: str, params: Json) -> Json:
    return {
        "label": label,
        "dataType": "number",
        "operationType": operation,
        "isBucketed": False,
        "scale": "ratio",
        "sourceField": field,
        "params": params,
        "customLabel": True,
    }


def over_time() -> Json:
    return {
        "label": TIME_FIELD,
        "dataType": "date",
        "operationType": "date_histogram",
        "isBucketed": True,
        "scale": "interval",
        "sourceField": TIME_FIELD,
        "params": {"interval": "auto", "includeEmptyRows": True, "dropPartials": False},
    }


def histogram(field: str) -> Json:
    return {
        "label": field,
        "dataType": "number",
        "operationType": "range",
        "isBucketed": True,
        "scale": "interval",
        "sourceField": field,
        "params": {
            "type": "histogram",
            "ranges": [{"from": 0, "to": 1, "label": ""}],
            "maxBars": "auto",
            "includeEmptyRows": True,
        },
    }


def terms(field: str, size: int) -> Json:
    return {
        "label": field,
        "dataType": "string",
        "operationType": "terms",
        "isBucketed": True,
        "scale": "ordinal",
        "sourceField": field,
        "params": {
            "size": size,
            "orderBy": {"type": "alphabetical", "fallback": False},
            "orderDirection": "asc",
            "otherBucket": True,
            "missingBucket": False,
            "parentFormat": {"id": "terms"},
        },
    }


def filters(label: str, queries: dict[str, str]) -> Json:
    return {
        "label": label,
        "dataType": "string",
        "operationType": "filters",
        "isBucketed": True,
        "scale": "ordinal",
        "params": {"filters": [{"input": kql(query), "label": name} for name, query in queries.items()]},
        "customLabel": True,
    }


def kql(query: str) -> Json:
    return {"query": query, "language": "kuery"}


# Charts of Lens.


def xy(title: str, columns: dict[str, Json], series: str) -> Json:
    """Returns a chart: the first column is x, a second bucket splits the series, what is left is y."""
    x, *splits = [name for name, column in columns.items() if column["isBucketed"]]
    layer: Json = {
        "layerId": LAYER,
        "layerType": "data",
        "seriesType": series,
        "xAccessor": x,
        "accessors": [name for name, column in columns.items() if not column["isBucketed"]],
    }
    if splits:
        layer["splitAccessor"] = splits[0]
    visualization = {
        "legend": {"isVisible": True, "position": "right", "showSingleSeries": False},
        "valueLabels": "hide",
        "fittingFunction": "None",
        "axisTitlesVisibilitySettings": {"x": False, "yLeft": True, "yRight": True},
        "preferredSeriesType": series,
        "layers": [layer],
    }
    return lens(title, "lnsXY", columns, visualization)


def metric(title: str, column: Json) -> Json:
    visualization = {"layerId": LAYER, "layerType": "data", "metricAccessor": "value"}
    return lens(title, "lnsMetric", {"value": column}, visualization)


def table(title: str, columns: dict[str, Json]) -> Json:
    visualization = {
        "layerId": LAYER,
        "layerType": "data",
        "columns": [{"columnId": name, "isTransposed": False} for name in columns],
    }
    return lens(title, "lnsDatatable", columns, visualization)


def lens(title: str, visualization_type: str, columns: dict[str, Json], visualization: Json) -> Json:
    layer = {"columns": columns, "columnOrder": list(columns), "incompleteColumns": {}, "sampling": 1}
    return {
        "title": f"trimodal: {title}",
        "description": "",
        "visualizationType": visualization_type,
        "state": {
            "datasourceStates": {"formBased": {"layers": {LAYER: layer}}},
            "visualization": visualization,
            "query": kql(""),
            "filters": [],
            "internalReferences": [],
            "adHocDataViews": {},
        },
    }
