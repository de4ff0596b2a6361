"""A model on disk: a folder with `manifest.json` and `model.safetensors`. No pickles."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from pipeline.model.config import PRESETS, NetworkConfig
from pipeline.model.manifest import (
    FORMAT,
    MANIFEST,
    SHIPPED,
    Manifest,
    broken,
    read_file,
    read_manifest,
    write_manifest,
)
from pipeline.model.network import FusionNetwork

WEIGHTS: Final = "model.safetensors"


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
    write_manifest(folder, manifest)
    return manifest


def load_bundle(folder: Path = SHIPPED) -> Bundle:
    """Reads and checks a bundle.

    Raises:
        BrokenBundle: A file is missing or damaged, the weights are not those that the manifest names, or they do
            not fit the network and input specs that it describes.
    """
    manifest = read_manifest(folder)
    weights = read_file(folder, WEIGHTS)
    if hashlib.sha256(weights).hexdigest() != manifest.weights_sha256:
        raise broken(folder, f"{WEIGHTS} is not the file that {MANIFEST} names (its SHA-256 differs)")
    try:
        network = FusionNetwork(manifest.network, manifest.specs)
        tensors = load_tensors(weights)
    except (ValueError, SafetensorError) as error:
        raise broken(folder, str(error)) from error
    _check_tensors(folder, tensors, network.state_dict())
    network.load_state_dict(tensors)
    return Bundle(manifest, network.eval())


def _check_tensors(folder: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    if stray := sorted(found.keys() ^ expected.keys()):
        raise broken(folder, f"{WEIGHTS} and the network do not have the same tensors: {', '.join(stray[:5])}")
    for name, tensor in found.items():
        if tensor.shape != expected[name].shape:
            shapes = f"{list(tensor.shape)}, not {list(expected[name].shape)}"
            raise broken(folder, f"the tensor {name} of {WEIGHTS} has the shape {shapes}")
        if not torch.isfinite(tensor).all():
            raise broken(folder, f"the tensor {name} of {WEIGHTS} holds NaN or infinite values")


def _preset_name(config: NetworkConfig) -> str:
    sizes = {name: replace(preset, classes=config.classes) for name, preset in PRESETS.items()}
    return next((name for name, preset in sizes.items() if preset == config), "custom")
