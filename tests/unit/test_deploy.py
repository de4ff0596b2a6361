"""The deployment files name settings and commands that exist; no container engine is needed to see that."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.settings import load
from pipeline.telemetry.serving import PATHS

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())
KUBERNETES = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "trimodal.yaml").read_text()))
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text()


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def ours() -> dict[str, dict[str, Any]]:
    return {name: service for name, service in COMPOSE["services"].items() if service.get("image") == "trimodal"}


def pods() -> Iterator[dict[str, Any]]:
    return (entry["spec"]["template"]["spec"] for entry in KUBERNETES if entry["kind"] in {"Job", "StatefulSet"})


def commands() -> list[list[str]]:
    return [service["command"] for service in ours().values()] + [pod["containers"][0]["args"] for pod in pods()]


def _names(entries: Iterable[dict[str, Any]]) -> list[str]:
    return [entry["metadata"]["name"] for entry in entries]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_commands_exist(command: list[str]) -> None:
    assert CliRunner().invoke(app, [*command, "--help"]).exit_code == 0


def test_the_images_settings_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in re.findall(r"(TRIMODAL_\w+)=(\S+)", DOCKERFILE):
        monkeypatch.setenv(name, value)
    assert load().settings.monitoring.metrics_port == 9_464
    assert "EXPOSE 9464" in DOCKERFILE


@pytest.mark.parametrize("name", ours())
def test_compose_settings_exist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in ours()[name]["environment"].items():
        monkeypatch.setenv(variable, value)
    settings = load().settings
    assert settings.kafka.bootstrap_servers == "kafka:9092"
    assert settings.elasticsearch.url == "http://elasticsearch:9200"


def test_compose_replicas_have_names_of_their_own() -> None:
    members = [s["hostname"] for s in ours().values() if s["command"] == ["run", "fusion"]]
    assert len(set(members)) == len(members) == 2


def test_the_config_map_is_a_settings_file(tmp_path: Path) -> None:
    (config,) = [entry for entry in KUBERNETES if entry["kind"] == "ConfigMap"]
    (name, text), *_ = config["data"].items()
    file = tmp_path / name
    file.write_text(text)
    settings = load(file).settings
    assert settings.topics.replication_factor == 3
    for pod in pods():
        container = pod["containers"][0]
        (variable,) = container["env"]
        assert variable == {"name": "TRIMODAL_CONFIG_PATH", "value": f"/etc/trimodal/{name}"}
        assert container["volumeMounts"] == [{"name": "config", "mountPath": "/etc/trimodal"}]


def test_replicas_are_stateful_and_are_given_time_to_finish() -> None:
    programs = [entry for entry in KUBERNETES if entry["kind"] == "StatefulSet"]
    assert set(_names(programs)) == {f"trimodal-{name}" for name in ("fusion", "indexer", "statistics", "board")}
    for program in programs:
        assert program["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= 30
        assert (
            program["spec"]["selector"]["matchLabels"].items()
            <= program["spec"]["template"]["metadata"]["labels"].items()
        )


def test_services_put_nothing_into_the_environment() -> None:
    # Kubernetes would set TRIMODAL_BOARD_PORT in every pod, which is refused as a setting that does not exist.
    assert all(pod["enableServiceLinks"] is False for pod in pods())


def test_probes_ask_for_what_is_served() -> None:
    served = set(PATHS)
    for entry in KUBERNETES:
        if entry["kind"] == "StatefulSet":
            (container,) = entry["spec"]["template"]["spec"]["containers"]
            ports = {port["name"] for port in container["ports"]}
            probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
            assert {probe["path"] for probe in probes} <= served
            assert {probe["port"] for probe in probes} <= ports
    checks = [service["healthcheck"]["test"] for service in ours().values() if "test" in service["healthcheck"]]
    assert len(checks) == len(ours()) - 1, "all but the one that makes the topics"
    assert all(re.findall(r"localhost:9464(/\w+)", check[-1]) == ["/readyz"] for check in checks)


def test_services_lead_to_the_ports_that_the_programs_listen_on() -> None:
    (config,) = [entry for entry in KUBERNETES if entry["kind"] == "ConfigMap"]
    settings = yaml.safe_load(config["data"]["trimodal.yaml"])
    listening = {
        "trimodal-board": load().settings.board.port,
        "trimodal-statistics": load().settings.statistics.web_port,
    }
    assert settings["board"]["host"] == settings["statistics"]["web_host"] == "0.0.0.0"  # inside a pod
    programs = {entry["metadata"]["name"]: entry for entry in KUBERNETES if entry["kind"] == "StatefulSet"}
    services = [entry for entry in KUBERNETES if entry["kind"] == "Service"]
    assert set(_names(services)) == set(listening)
    for service in services:
        name = service["metadata"]["name"]
        template = programs[name]["spec"]["template"]
        assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
        (port,) = service["spec"]["ports"]
        (container,) = template["spec"]["containers"]
        held = {entry["name"]: entry["containerPort"] for entry in container["ports"]}
        assert port["port"] == held[port["targetPort"]] == listening[name]


def test_prometheus_scrapes_the_programs() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    targets = [target for group in config["scrape_configs"][0]["static_configs"] for target in group["targets"]]
    members = {name for name, service in ours().items() if service["command"][0] == "run"}
    assert {tuple(target.split(":")) for target in targets} == {(member, "9464") for member in members}


def test_mounted_paths_are_there() -> None:
    mounts = [v for s in COMPOSE["services"].values() for v in s.get("volumes", ()) if v.startswith(".")]
    assert mounts
    for mount in mounts:
        assert (DEPLOY / "compose" / mount.split(":")[0]).exists(), mount


def test_every_copied_path_is_there() -> None:
    for line in DOCKERFILE.splitlines():
        if line.startswith("COPY "):
            for source in line.split()[1:-1]:
                assert (DEPLOY.parent / source).exists(), source
