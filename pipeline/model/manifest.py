"""What a bundle's `manifest.json` says, read and checked without PyTorch."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

from pipeline.model.config import NetworkConfig
from pipeline.model.errors import BrokenBundle
from pipeline.model.samples import SUBSETS
from pipeline.model.specs import InputSpecs

MANIFEST: Final = "manifest.json"
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


def read_file(folder: Path, name: str) -> bytes:
    """Returns what a file of a bundle holds. Raises BrokenBundle if it cannot be read."""
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise broken(folder, f"{name} cannot be read ({error.strerror})") from error


def read_manifest(folder: Path) -> Manifest:
    """Reads and checks a manifest. Raises BrokenBundle if it is not a whole one."""
    text = read_file(folder, MANIFEST)
    try:
        manifest = _MANIFEST.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "as a whole"
        raise broken(folder, f"{MANIFEST}, {place}: {first['msg']}") from error
    # Nested dataclasses ignore unknown keys and fill in what is missing; a manifest must say all, and no more.
    stray = _differences(json.loads(text), _MANIFEST.dump_python(manifest, mode="json"))
    if stray:
        raise broken(folder, f"{MANIFEST} has unknown or missing fields: {', '.join(stray)}")
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest of a bundle."""
    (folder / MANIFEST).write_bytes(_MANIFEST.dump_json(manifest, indent=2) + b"\n")


def _differences(found: object, expected: object, place: str = "") -> list[str]:
    if not (isinstance(found, dict) and isinstance(expected, dict)):
        return []
    here = [f"{place}{key}" for key in found.keys() ^ expected.keys()]
    common = found.keys() & expected.keys()
    return sorted(here + [name for key in common for name in _differences(found[key], expected[key], f"{place}{key}.")])


def broken(folder: Path, what: str) -> BrokenBundle:
    """Returns the error that says what is wrong with a bundle and what to do."""
    return BrokenBundle(
        f"The model bundle {folder} cannot be used: {what}. Name a whole bundle with TRIMODAL_MODEL_PATH, or write "
        "one with `trimodal model train`."
    )
