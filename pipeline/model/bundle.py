"""A model on disk: a folder with `manifest.json` and `model.safetensors`. No pickles."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from pipeline.model.errors import BrokenBundle
from pipeline.model.network import PRESETS, FusionNetwork, NetworkConfig
from pipeline.model.samples import SUBSETS
from pipeline.model.specs import InputSpecs

MANIFEST: Final = "manifest.json"
WEIGHTS: Final = "model.safetensors"
FORMAT: Final = 1
SHIPPED: Final = Path(__file__).parent.parent / "digits" / "bundle"
"""The trained bundle of the reference task, tri-modal digits."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `manifest.json` says. Unknown and missing fields are errors.

    Attributes:
        format: Version of this file format.
        name: Name of the model; predictions carry it.
        version: Version of the model; predictions carry it.
        labels: One name a class, in the order of the logits.
        specs: What shape the inputs have.
        network: Sizes of the network.
        precision: Type of the stored weights.
        weights_sha256: SHA-256 of `model.safetensors`, hexadecimal.
        temperatures: Divisor of the logits for each presence subset, by its index (speech 1 + image 2 + sensor 4).
        metrics: What was measured when it was trained, by name; for people.
        preset: The preset that `network` came from, or "custom".
    """

    format: Literal[1]
    name: str
    version: str
    labels: tuple[str, ...]
    specs: InputSpecs
    network: NetworkConfig
    precision: Literal["float32", "float16"]
    weights_sha256: str
    temperatures: tuple[float, ...]
    metrics: Mapping[str, float]
    preset: str

    def __post_init__(self) -> None:
        if not (self.name and self.version):
            raise ValueError("name and version must not be empty; predictions carry them")
        if len(self.labels) != self.network.classes or len(set(self.labels)) != len(self.labels):
            raise ValueError(
                f"{len(self.labels)} labels for {self.network.classes} classes, or one of them twice: {self.labels}"
            )
        if len(self.temperatures) != SUBSETS:
            raise ValueError(f"{len(self.temperatures)} temperatures; one for each of {SUBSETS} subsets is needed")
        if not all(math.isfinite(value) and value > 0 for value in self.temperatures):
            raise ValueError(f"temperatures must be finite and above 0: {self.temperatures}")
        if not all(math.isfinite(value) for value in self.metrics.values()):
            raise ValueError(f"metrics must be finite: {dict(self.metrics)}")


_MANIFEST: Final = TypeAdapter(Manifest)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked model, ready for a runtime.

    Attributes:
        manifest: What the model is.
        network: Its network with the trained weights, FP32 on the CPU, in evaluation mode.
    """

    manifest: Manifest
    network: FusionNetwork


def save_bundle(
    folder: Path,
    network: FusionNetwork,
    *,
    name: str,
    version: str,
    labels: tuple[str, ...],
    temperatures: tuple[float, ...],
    metrics: Mapping[str, float],
    precision: Literal["float32", "float16"] = "float32",
) -> Manifest:
    """Writes a bundle; the manifest last, so that an interrupted write leaves no bundle that loads.

    Args:
        folder: Made if need be; a bundle in it is replaced.
        network: The trained network.
        name: Name of the model.
        version: Version of the model.
        labels: One name a class, in the order of the logits.
        temperatures: One for each presence subset, by its index; that of the empty subset is never used.
        metrics: What was measured, by name.
        precision: Type in which floating-point weights are stored; float16 halves the file.

    Raises:
        ValueError: Labels or temperatures do not fit the network.
    """
    stored = getattr(torch, precision)
    tensors = {
        key: value.detach().cpu().to(stored if value.is_floating_point() else value.dtype).contiguous()
        for key, value in network.state_dict().items()
    }
    weights = save_tensors(tensors)
    manifest = Manifest(
        format=FORMAT,
        name=name,
        version=version,
        labels=labels,
        specs=network.specs,
        network=network.config,
        precision=precision,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        temperatures=temperatures,
        metrics=metrics,
        preset=_preset_name(network.config),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    (folder / WEIGHTS).write_bytes(weights)
    (folder / MANIFEST).write_bytes(_MANIFEST.dump_json(manifest, indent=2) + b"\n")
    return manifest


def load_bundle(folder: Path = SHIPPED) -> Bundle:
    """Reads and checks a bundle.

    Raises:
        BrokenBundle: A file is missing or damaged, the weights are not those that the manifest names, or they do
            not fit the network and input specs that it describes.
    """
    manifest = _read_manifest(folder)
    weights = _read(folder, WEIGHTS)
    if hashlib.sha256(weights).hexdigest() != manifest.weights_sha256:
        raise _broken(folder, f"{WEIGHTS} is not the file that {MANIFEST} names (its SHA-256 differs)")
    try:
        network = FusionNetwork(manifest.network, manifest.specs)
        tensors = load_tensors(weights)
    except (ValueError, SafetensorError) as error:
        raise _broken(folder, str(error)) from error
    _check_tensors(folder, tensors, network.state_dict())
    network.load_state_dict(tensors)
    return Bundle(manifest, network.eval())


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise _broken(folder, f"{name} cannot be read ({error.strerror})") from error


def _read_manifest(folder: Path) -> Manifest:
    text = _read(folder, MANIFEST)
    try:
        manifest = _MANIFEST.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "as a whole"
        raise _broken(folder, f"{MANIFEST}, {place}: {first['msg']}") from error
    # Nested dataclasses ignore unknown keys and fill in what is missing; a manifest must say all, and no more.
    stray = _differences(json.loads(text), _MANIFEST.dump_python(manifest, mode="json"))
    if stray:
        raise _broken(folder, f"{MANIFEST} has unknown or missing fields: {', '.join(stray)}")
    return manifest


def _differences(found: object, expected: object, place: str = "") -> list[str]:
    if not (isinstance(found, dict) and isinstance(expected, dict)):
        return []
    here = [f"{place}{key}" for key in found.keys() ^ expected.keys()]
    common = found.keys() & expected.keys()
    return sorted(here + [name for key in common for name in _differences(found[key], expected[key], f"{place}{key}.")])


def _check_tensors(folder: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    if stray := sorted(found.keys() ^ expected.keys()):
        raise _broken(folder, f"{WEIGHTS} and the network do not have the same tensors: {', '.join(stray[:5])}")
    for name, tensor in found.items():
        if tensor.shape != expected[name].shape:
            shapes = f"{list(tensor.shape)}, not {list(expected[name].shape)}"
            raise _broken(folder, f"the tensor {name} of {WEIGHTS} has the shape {shapes}")
        if not torch.isfinite(tensor).all():
            raise _broken(folder, f"the tensor {name} of {WEIGHTS} holds NaN or infinite values")


def _broken(folder: Path, what: str) -> BrokenBundle:
    return BrokenBundle(
        f"The model bundle {folder} cannot be used: {what}. Name a whole bundle with TRIMODAL_MODEL_PATH, or write "
        "one with `trimodal model train`."
    )


def _preset_name(config: NetworkConfig) -> str:
    sizes = {name: replace(preset, classes=config.classes) for name, preset in PRESETS.items()}
    return next((name for name, preset in sizes.items() if preset == config), "custom")
