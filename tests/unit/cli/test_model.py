import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from pipeline.cli.model import CPU_SECONDS, SEED, TRIPLES, app
from pipeline.digits import evaluation, synthesis
from pipeline.digits.clips import LABELS
from pipeline.digits.errors import MissingMaterial
from pipeline.digits.training import Recipe
from pipeline.model.bundle import save_bundle
from pipeline.model.config import PRESETS
from pipeline.model.errors import BrokenBundle
from pipeline.model.network import FusionNetwork
from pipeline.model.specs import InputSpecs


@pytest.fixture
def untrained(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    folder = tmp_path / "untrained"
    network = FusionNetwork(PRESETS["small"], InputSpecs())
    save_bundle(
        folder, network, name="untrained", version="7", labels=LABELS, temperatures=(1.0,) * 8, metrics={"x": 1.5}
    )
    return folder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_info_describes_the_named_bundle(untrained: Path) -> None:
    found = json.loads(run("info", "--model", str(untrained), "--json").stdout)
    assert (found["name"], found["version"], found["preset"]) == ("untrained", "7", "small")
    assert found["parameters"] == 436_264
    assert found["metrics"] == {"x": 1.5}
    text = run("info", "--model", str(untrained)).stdout
    assert "untrained 7" in text
    assert "436,264" in text
    assert "temperature speech+image+sensor" in text


def test_the_environment_names_the_bundle(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMODAL_MODEL_PATH", str(untrained))
    assert json.loads(run("info", "--json").stdout)["name"] == "untrained"


def test_info_shows_the_shipped_bundle_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIMODAL_MODEL_PATH", raising=False)
    assert json.loads(run("info", "--json").stdout)["name"] == "tri-modal-digits"


def test_a_folder_that_is_no_bundle_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BrokenBundle, match=str(tmp_path)):
        run("info", "--model", str(tmp_path))


def test_missed_bars_are_an_exit_code(untrained: Path) -> None:
    measured = run("evaluate", "--model", str(untrained), "--triples", "100", "--json")
    assert measured.exit_code == 0
    report = json.loads(measured.stdout)
    assert report["triples"] == 100
    assert not all(bar["met"] for bar in report["bars"])
    required = run("evaluate", "--model", str(untrained), "--triples", "100", "--require-bars")
    assert required.exit_code == 1
    assert "accuracy all" in required.output


def test_training_without_its_packages_says_what_to_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis, "engines", lambda packages: [])
    folders = ("--build", str(tmp_path / "build"), "--packages", str(tmp_path / "packages"))
    with pytest.raises(MissingMaterial, match="no text-to-speech engine was found"):
        run("train", str(tmp_path / "out"), *folders)
    assert not (tmp_path / "out").exists()


def test_the_defaults_are_the_librarys() -> None:
    assert (Recipe().cpu_seconds, evaluation.TRIPLES, evaluation.SEED) == (CPU_SECONDS, TRIPLES, SEED)


def test_the_command_line_starts_without_pytorch() -> None:
    """It takes seconds to load, and most commands need none of it."""
    code = "import sys, pipeline.cli.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
