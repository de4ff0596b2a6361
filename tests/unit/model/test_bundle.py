import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.model.bundle import WEIGHTS, load_bundle
from pipeline.model.config import PRESETS
from pipeline.model.errors import BrokenBundle
from pipeline.model.manifest import MANIFEST
from pipeline.model.network import FusionNetwork
from pipeline.model.specs import ImageSpec, InputSpecs, SensorSpec, SpeechSpec
from tests.unit.model.conftest import LABELS, random_inputs, save


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


@torch.inference_mode()
def test_a_bundle_comes_back_as_it_was_saved(bundle_folder: Path, network: FusionNetwork) -> None:
    bundle = load_bundle(bundle_folder)
    assert bundle.manifest.labels == LABELS
    assert bundle.manifest.preset == "small"
    assert bundle.manifest.metrics == {"accuracy": 0.1}
    assert (bundle.network.config, bundle.network.specs) == (network.config, network.specs)
    inputs, present = random_inputs(4), torch.ones(4, 3, dtype=torch.bool)
    assert torch.equal(bundle.network(*inputs, present).logits, network(*inputs, present).logits)


def test_other_input_specs_come_back(tmp_path: Path) -> None:
    specs = InputSpecs(
        SpeechSpec(sample_rate=8_000, samples=4_000, max_seconds=2.5),
        ImageSpec(height=16, width=64, max_pixels=1_000_000),
        SensorSpec(channels=("a", "b", "c"), frames=32, max_absolute=9.0),
    )
    manifest = save(tmp_path, FusionNetwork(PRESETS["small"], specs))
    bundle = load_bundle(tmp_path)
    assert bundle.manifest == manifest
    assert bundle.network.specs == specs


@torch.inference_mode()
def test_float16_weights_halve_the_file_and_load(tmp_path: Path, network: FusionNetwork) -> None:
    save(tmp_path / "full", network)
    save(tmp_path / "half", network, precision="float16")
    full, half = ((tmp_path / name / WEIGHTS).stat().st_size for name in ("full", "half"))
    assert half < 0.52 * full
    inputs, present = random_inputs(4), torch.ones(4, 3, dtype=torch.bool)
    loaded = load_bundle(tmp_path / "half").network
    torch.testing.assert_close(loaded(*inputs, present).logits, network(*inputs, present).logits, atol=0.01, rtol=0.01)


BROKEN: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("a newer format", lambda m: m.update(format=2), "manifest.json, format: Input should be 1"),
    ("no name", lambda m: m.pop("name"), "manifest.json, name: Field required"),
    ("an empty version", lambda m: m.update(version=""), "version must not be empty"),
    ("an unknown field", lambda m: m.update(colour=1), "unknown or missing fields: colour"),
    ("an unknown nested field", lambda m: m["specs"]["image"].update(depth=3), "specs.image.depth"),
    ("a missing nested field", lambda m: m["specs"]["speech"].pop("samples"), "specs.speech.samples"),
    ("a size of the wrong type", lambda m: m["network"].update(d_model="wide"), "network.d_model"),
    ("impossible sizes", lambda m: m["network"].update(heads=5), "heads 5 must divide d_model 96"),
    ("an impossible spec", lambda m: m["specs"]["sensor"].update(frames=0), "sensor.frames is 0"),
    ("a spec that does not fit the stem", lambda m: m["specs"]["image"].update(width=30), "image width: 30"),
    ("another spec than the weights'", lambda m: m["specs"]["image"].update(width=64), "has the shape"),
    ("other sizes than the weights'", lambda m: m["network"].update(d_feedforward=7), "has the shape"),
    ("more layers than the weights", lambda m: m["network"].update(layers=4), "same tensors"),
    ("a label too few", lambda m: m["labels"].pop(), "9 labels for 10 classes"),
    ("a label twice", lambda m: m["labels"].__setitem__(0, "9"), "one of them twice"),
    ("too few temperatures", lambda m: m["temperatures"].pop(), "7 temperatures"),
    ("a temperature of zero", lambda m: m["temperatures"].__setitem__(3, 0.0), "above 0"),
    ("another hash", lambda m: m.update(weights_sha256="0" * 64), "SHA-256 differs"),
]


@pytest.mark.parametrize(("change", "says"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_manifest_is_refused_by_name(
    bundle_folder: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    edit(bundle_folder, change)
    with pytest.raises(BrokenBundle, match=says) as raised:
        load_bundle(bundle_folder)
    assert str(bundle_folder) in str(raised.value)
    assert "TRIMODAL_MODEL_PATH" in str(raised.value)


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS])
def test_a_missing_file_is_named(bundle_folder: Path, name: str) -> None:
    (bundle_folder / name).unlink()
    with pytest.raises(BrokenBundle, match=f"{name} cannot be read"):
        load_bundle(bundle_folder)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_manifest_that_is_not_json_is_refused(bundle_folder: Path, text: bytes) -> None:
    (bundle_folder / MANIFEST).write_bytes(text)
    with pytest.raises(BrokenBundle, match=r"manifest\.json, as a whole"):
        load_bundle(bundle_folder)


def test_changed_weights_are_refused(bundle_folder: Path) -> None:
    weights = bytearray((bundle_folder / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (bundle_folder / WEIGHTS).write_bytes(weights)
    with pytest.raises(BrokenBundle, match="SHA-256 differs"):
        load_bundle(bundle_folder)


def rehash(folder: Path) -> None:
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    edit(folder, lambda manifest: manifest.update(weights_sha256=digest))


def test_weights_that_are_not_safetensors_are_refused(bundle_folder: Path) -> None:
    (bundle_folder / WEIGHTS).write_bytes(b"\x80\x04pickle" * 9)
    rehash(bundle_folder)
    with pytest.raises(BrokenBundle, match="header"):
        load_bundle(bundle_folder)


def test_weights_with_nan_are_refused(bundle_folder: Path) -> None:
    tensors = load_file(bundle_folder / WEIGHTS)
    tensors["transformer.head.bias"][3] = torch.nan
    save_file(tensors, bundle_folder / WEIGHTS)
    rehash(bundle_folder)
    with pytest.raises(BrokenBundle, match=r"transformer\.head\.bias .* holds NaN"):
        load_bundle(bundle_folder)


def test_labels_that_do_not_fit_are_refused_before_anything_is_written(tmp_path: Path, network: FusionNetwork) -> None:
    with pytest.raises(ValueError, match="9 labels for 10 classes"):
        save(tmp_path / "new", network, labels=LABELS[:9])
    assert not (tmp_path / "new").exists()
