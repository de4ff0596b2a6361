"""Where settings come from, which source wins, and what a wrong one says."""

import json
from pathlib import Path

import pytest

from pipeline.settings import SettingsError, load


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def yaml(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "trimodal.yaml"
    file.write_text(text)
    return file


def test_the_stronger_source_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".local").mkdir()
    stack = {"settings": {"kafka": {"bootstrap_servers": "stack:1"}, "elasticsearch": {"url": "http://stack:2"}}}
    (tmp_path / ".local" / "stack.json").write_text(json.dumps(stack))
    file = yaml(tmp_path, "kafka: {bootstrap_servers: 'yaml:1', group: yaml}\njoin: {window_ms: 7000}\n")
    monkeypatch.setenv("TRIMODAL_KAFKA__GROUP", "environment")
    loaded = load(file, {"kafka": {"replica": "command"}})
    settings = loaded.settings
    assert settings.elasticsearch.url == "http://stack:2"
    assert settings.kafka.bootstrap_servers == "yaml:1"
    assert settings.kafka.group == "environment"
    assert settings.kafka.replica == "command"
    assert settings.join.window_ms == 7_000
    origins = {name: origin for name, _, origin, _ in loaded.rows()}
    assert origins["elasticsearch.url"] == ".local/stack.json"
    assert origins["kafka.bootstrap_servers"] == str(file)
    assert origins["kafka.group"] == "environment"
    assert origins["kafka.replica"] == "command line"
    assert origins["join.idle_ms"] == "default"


def test_the_file_may_be_named_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRIMODAL_CONFIG_PATH", str(yaml(tmp_path, "join: {idle_ms: 5}")))
    assert load().settings.join.idle_ms == 5


def test_the_model_path_has_a_variable_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMODAL_MODEL_PATH", "bundles/mine")
    assert load().settings.serving.model_path == Path("bundles/mine")


def test_the_users_sections_are_taken_by_their_names(tmp_path: Path) -> None:
    text = """
model: {name: tri-modal-digits, d_model: 96, tasks: [classification], num_classes: 10}
serving: {device: cpu, batch_size: 32, half_precision: false, model_path: m, max_concurrent_requests: 4,
          request_timeout: 30}
optimization: {enable_tensorrt: false, enable_model_compilation: false, memory_pool_size: null}
monitoring: {enable_metrics: true, log_level: info, enable_request_logging: true}
"""
    settings = load(yaml(tmp_path, text)).settings
    assert settings.model.num_classes == 10
    assert settings.serving.max_concurrent_requests == 4
    assert settings.monitoring.log_level == "INFO"


REFUSED = [
    ("kafka: {bootstrap_server: x}", "'bootstrap_server' is not a known setting of kafka .*kafka.bootstrap_servers"),
    ("kafak: {group: x}", "'kafak' is not a known section .*did you mean kafka"),
    ("kafka: 7", "kafka .* must hold settings such as kafka.NAME, not 7"),
    ("- kafka", "must hold sections"),
    ("1: {group: x}", "1 is not a known section .*known are"),
    ("kafka: {on: x}", "True is not a known setting of kafka .*known are"),
    ("kafka: {", "is not YAML"),
    ("serving: {batch_size: 0}", "serving.batch_size = 0 .*trimodal.yaml.*greater than or equal to 1"),
    ("serving: {device: tpu}", "serving.device = 'tpu' .*not of its form: auto .*, cpu, cuda or cuda:N"),
    ("kafka: {bootstrap_servers: ''}", "kafka.bootstrap_servers = '' .*at least 1 character"),
    ("optimization: {enable_tensorrt: true}", "optimization.enable_tensorrt = True .*cannot be honoured"),
    ("optimization: {memory_pool_size: 1024}", "memory_pool_size = 1024 .*cannot be honoured"),
    ("model: {tasks: [regression]}", "model.tasks"),
    ("elasticsearch: {username: u}", "username and password go together"),
    ("statistics: {windows_ms: [10000, 25000]}", "statistics = .*must grow by multiples, and 25000 is none of 10000"),
    ("statistics: {windows_ms: [60000, 10000]}", "must grow by multiples, and 10000 is none of 60000"),
    ("statistics: {keep_ms: 59999}", "keep_ms must be at least the longest window, 60000"),
]


@pytest.mark.parametrize(("text", "sentence"), REFUSED)
def test_a_wrong_setting_is_named_with_where_it_was_read(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        load(yaml(tmp_path, text))


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    file = yaml(tmp_path, "")
    file.write_bytes("kafka: {group: größe}".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"trimodal\.yaml is not UTF-8 text"):
        load(file)


def test_a_section_may_be_empty(tmp_path: Path) -> None:
    assert load(yaml(tmp_path, "kafka:\n# group: mine\n")).settings == load(None).settings


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("TRIMODAL_KAFAK__GROUP", "x", "TRIMODAL_KAFAK__GROUP is not a setting: did you mean TRIMODAL_KAFKA__"),
        ("TRIMODAL_KAFKA__GRUOP", "x", "'gruop' is not a known setting of kafka in environment: did you mean"),
        ("TRIMODAL_JOIN__WINDOW_MS", "soon", "join.window_ms = 'soon' .from environment"),
        ("TRIMODAL_KAFKA__CLIENT_OPTIONS", "{", "In the environment, TRIMODAL_KAFKA__CLIENT_OPTIONS = '{' .*JSON"),
        ("TRIMODAL_CONFIG_PATH", "nowhere.yaml", "nowhere.yaml cannot be read"),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=sentence):
        load()


def test_every_setting_has_a_sentence() -> None:
    assert [name for name, _, _, description in load().rows() if not description.endswith((".", ").", "*."))] == []
