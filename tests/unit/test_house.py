"""The house: what each name is, how large modules may be, and that nothing names a machine."""

import ast
import importlib
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("schemas", "producers", "pipeline", "consumers")
TOUR = ROOT / "consumers" / "fusion.py"


def modules() -> list[Path]:
    return sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name]


@pytest.mark.parametrize("package", PACKAGES)
def test_each_name_resolves_inside_the_checkout(package: str) -> None:
    """The folder names are general enough for another distribution to have them too."""
    found = importlib.import_module(package).__file__
    assert found is not None
    assert Path(found).resolve().is_relative_to(ROOT)


@pytest.mark.parametrize("module", modules(), ids=lambda module: str(module.relative_to(ROOT)))
def test_modules_are_small(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= 300


def test_the_tour_is_short() -> None:
    code = ast.parse(TOUR.read_text())
    imports = sum(
        (node.end_lineno or 0) - node.lineno + 1 for node in code.body if isinstance(node, ast.Import | ast.ImportFrom)
    )
    assert len(TOUR.read_text().splitlines()) - imports <= 200


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("confluent_kafka", "pipeline/kafka"),
        ("elasticsearch", "pipeline/search"),
        ("faust", "consumers/streaming"),
        ("aiokafka", "consumers/streaming"),
        ("ddsketch", "consumers/windowing"),
    ],
)
def test_a_client_library_is_imported_in_one_place(library: str, home: str) -> None:
    importing = re.compile(rf"^\s*(from|import) {library}\b", re.MULTILINE)
    elsewhere = [m for m in modules() if importing.search(m.read_text()) and not m.is_relative_to(ROOT / home)]
    assert elsewhere == []


def test_no_file_names_a_machine() -> None:
    """Neither a home folder nor a package registry's host stands in what is published."""
    machine = re.compile(rb"/(root|home/\w+)/|files\.pythonhosted|repo1?\.maven|registry\.npmjs|deb\.debian")
    suspects = [file for file in tracked() if file.suffix not in {".npz", ".flac", ".safetensors", ".png"}]
    found = [
        file for file in suspects if file.is_file() and machine.search(file.read_bytes()) and file != Path(__file__)
    ]
    assert found == []
