"""Alert rules and the dashboard ask for metrics that exist, by labels they have; promtool agrees with all of it."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.telemetry.metrics import REGISTRY, TABLE

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())
RULES = [rule for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
TESTS = yaml.safe_load((PROMETHEUS / "alerts.test.yml").read_text())["tests"]
OF_PROMETHEUS = {"instance", "job"}
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}
KNOWN = {row.name + suffix: set(row.labels) for row in TABLE for suffix in SUFFIXES.get(row.kind, ("",))}
KNOWN |= {name: labels | {"le"} for name, labels in KNOWN.items() if name.endswith("_bucket")}
KNOWN |= {sample.name: set() for family in REGISTRY.collect() for sample in family.samples if "process_" in sample.name}
KNOWN |= {"up": set(), "ALERTS": {"alertname", "alertstate"}}
OF_PROMQL = {
    *("and", "or", "unless", "bool", "offset"),
    *("count", "group", "max", "min", "sum"),
    *("changes", "deriv", "histogram_quantile", "increase", "min_over_time", "rate", "time", "vector"),
}
"""The keywords, aggregations and functions that queries use; whatever else stands in a query is a metric."""
STRING = r'"[^"]*"'
NAMED = re.compile(rf"{STRING}|(?<![\w:.])([A-Za-z_:][\w:]*)(?:\s*\{{((?:[^\"}}]|{STRING})*)\}})?")
DURATION = re.compile(r"\[[^]]*\]")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
GROUPED = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> Iterator[str]:
    for panel in panels():
        yield from (target["expr"] for target in panel["targets"])
    yield from (entry["expr"] for entry in DASHBOARD["annotations"]["list"])
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").split(", ")
            yield f"group by ({label}) ({metric})"


def selected(query: str) -> list[tuple[str, str]]:
    """Returns every metric in a query, with the text of its matchers."""
    without_labels = GROUPED.sub("", DURATION.sub("", query))
    return [(name, matchers) for name, matchers in NAMED.findall(without_labels) if name and name not in OF_PROMQL]


def problems(query: str) -> list[str]:
    """Returns what a query names and nothing has."""
    metrics = selected(query)
    found = [] if metrics else ["it names no metric"]
    allowed = set(OF_PROMETHEUS)
    for metric, matchers in metrics:
        labels = KNOWN.get(metric)
        if labels is None:
            found.append(f"no metric {metric}")
            continue
        wanted = set(MATCHER.findall(re.sub(STRING, "", matchers)))
        found += [f"{metric} has no {label}" for label in wanted - labels - OF_PROMETHEUS]
        allowed |= labels
    groups = {label.strip() for group in GROUPED.findall(query) for label in group.split(",")}
    return [*found, *(f"nothing has {label}" for label in groups - allowed)]


@pytest.mark.parametrize("query", [*queries(), *(rule["expr"] for rule in RULES)])
def test_queries_name_metrics_and_labels_that_exist(query: str) -> None:
    assert problems(query) == []


SPOILT = [
    ("a metric of others beside ours", "trimodal_ready / on (instance) node_load1", ["no metric node_load1"]),
    ("theirs with matchers", 'trimodal_ready and go_threads{job="trimodal"} > 1', ["no metric go_threads"]),
    ("theirs alone", "sum(rate(http_requests_total[$__rate_interval]))", ["no metric http_requests_total"]),
    (
        "ours misspelt",
        "sum by (topic) (trimodal_record_total)",
        ["no metric trimodal_record_total", "nothing has topic"],
    ),
    ("a function misspelt", "ratte(trimodal_records_total[5m])", ["no metric ratte"]),
    ("a label that it does not have", 'trimodal_ready{lane="0", job=~"trimodal}"}', ["trimodal_ready has no lane"]),
    ("grouped by what it does not have", "sum by (lane, instance) (trimodal_ready)", ["nothing has lane"]),
    ("no metric at all", "time() - 1e3 or vector(0)", ["it names no metric"]),
]


@pytest.mark.parametrize(("query", "told"), [case[1:] for case in SPOILT], ids=[case[0] for case in SPOILT])
def test_a_spoilt_query_is_found(query: str, told: list[str]) -> None:
    assert problems(query) == told


def test_every_metric_is_shown() -> None:
    shown = {metric for query in queries() for metric, _ in selected(query)}
    of_no_use_alone = {"trimodal_lanes", "trimodal_offset_map_bytes", "trimodal_offset_map_peak_ratio"}
    for row in TABLE:
        names = {row.name + suffix for suffix in SUFFIXES.get(row.kind, ("",))}
        assert names & shown or row.name in of_no_use_alone, row.name


def test_legends_name_labels_that_their_queries_leave() -> None:
    for panel in panels():
        for target in panel["targets"]:
            wanted = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat") or ""))
            grouped = re.search(r"\bby \(([^)]*)\)", target["expr"])
            if grouped:
                assert wanted <= {label.strip() for label in grouped[1].split(",")}, panel["title"]


def test_panels_do_not_overlap_and_say_what_they_show() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(panel["title"] and panel["description"] for panel in panels())


def test_every_alert_is_tested_both_ways_and_explained() -> None:
    cases = [case for test in TESTS for case in test["alert_rule_test"]]
    operations = (ROOT / "docs" / "operations.md").read_text()
    for rule in RULES:
        fires = {bool(case["exp_alerts"]) for case in cases if case["alertname"] == rule["alert"]}
        series = [test for test in TESTS if any(case["alertname"] == rule["alert"] for case in test["alert_rule_test"])]
        assert True in fires, rule["alert"]
        assert False in fires or any(len(test["input_series"]) > 1 for test in series), rule["alert"]
        assert f"| `{rule['alert']}` |" in operations, rule["alert"]


@pytest.fixture
def promtool() -> str:
    path = shutil.which("promtool")
    if path is None:
        assert not os.environ.get("CI"), "CI needs promtool: apt-get install prometheus"
        pytest.skip("promtool is not here: apt-get install prometheus")
    return path


def checked(promtool: str, *arguments: str | Path) -> None:
    result = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_promtool_takes_the_configuration(promtool: str) -> None:
    checked(promtool, "check", "config", PROMETHEUS / "prometheus.yml")


def test_alerts_fire_when_they_should(promtool: str) -> None:
    checked(promtool, "test", "rules", PROMETHEUS / "alerts.test.yml")


def test_promtool_can_read_the_dashboards_queries(promtool: str, tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "5m").replace("$instance", ".*")}
        for number, query in enumerate(queries())
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked(promtool, "check", "rules", "--lint=none", file)
