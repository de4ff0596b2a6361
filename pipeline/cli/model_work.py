"""The work of `trimodal model`; it loads PyTorch, so it is imported late."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from pydantic import TypeAdapter
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pipeline.cli.context import settings
from pipeline.digits import heldout, synthesis
from pipeline.digits.clips import LABELS
from pipeline.digits.data import Material, split_material
from pipeline.digits.evaluation import Report, evaluate
from pipeline.digits.training import Recipe, Step, Trained, train
from pipeline.digits.voices import Split
from pipeline.model.bundle import Bundle, load_bundle, save_bundle
from pipeline.model.manifest import SHIPPED, Manifest
from pipeline.model.samples import SUBSETS

_out = Console()
_err = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the bundle goes, and where training finds its material."""

    out: Path
    build: Path
    packages: Path


def train_bundle(
    folders: Folders, cpu_seconds: float, seed: int, name: str, version: str, *, refresh_heldout: bool
) -> None:
    """Synthesises, trains, calibrates, measures and writes a bundle. Raises MissingMaterial."""
    for missing in synthesis.missing(folders.packages):
        _err.print(f"{missing.engine}: not found, its voices are left out. To have them: {missing.install}")
    _synthesise(folders.build / "speech", folders.packages, seed)
    material = split_material(synthesis.load(folders.build / "speech"), folders.packages)
    if refresh_heldout:
        heldout.save(heldout.FOLDER, material[Split.TEST])
    trained = _train(material, Recipe(cpu_seconds=cpu_seconds, seed=seed))
    _save(folders.out, trained, name, version, {})
    report = evaluate(load_bundle(folders.out), heldout.load())
    _save(folders.out, trained, name, version, report.metrics())
    _show_report(report)
    _out.print(f"{trained.steps} steps; the bundle {name} {version} is in {folders.out}")


def evaluate_bundle(model: Path | None, triples: int, seed: int, *, as_json: bool) -> list[str]:
    """Prints a bundle's figures on the held-out digits and returns the bars that it missed."""
    # One thread adds in one order, so figures do not depend on the number of cores, and beside other work it is faster.
    torch.set_num_threads(1)
    bundle = _load(model)
    with _err.status(f"measuring {bundle.manifest.name} {bundle.manifest.version}"):
        report = evaluate(bundle, heldout.load(), triples, seed)
    if as_json:
        bars = [{**asdict(bar), "met": bar.met} for bar in report.bars()]
        _out.print_json(json.dumps({**asdict(report), "bars": bars}))
    else:
        _show_report(report)
    return [bar.name for bar in report.bars() if not bar.met]


def describe_bundle(model: Path | None, *, as_json: bool) -> None:
    """Prints what is in a bundle."""
    bundle = _load(model)
    parameters = sum(parameter.numel() for parameter in bundle.network.parameters())
    if as_json:
        manifest = TypeAdapter(Manifest).dump_python(bundle.manifest, mode="json")
        _out.print_json(json.dumps({**manifest, "parameters": parameters}))
        return
    _show_manifest(bundle.manifest, parameters)


def _load(model: Path | None) -> Bundle:
    return load_bundle(model or settings().serving.model_path or SHIPPED)


def _save(out: Path, trained: Trained, name: str, version: str, metrics: dict[str, float]) -> None:
    save_bundle(
        out,
        trained.network,
        name=name,
        version=version,
        labels=LABELS,
        temperatures=trained.temperatures,
        metrics=metrics,
    )


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %")
    return Progress(*columns, TimeRemainingColumn(), console=_err)


def _synthesise(folder: Path, packages: Path, seed: int) -> None:
    with _progress() as progress:
        bar = progress.add_task("speech", total=None)

        def spoken(step: synthesis.Spoken) -> None:
            progress.update(bar, description=f"speech: {step.voice}", completed=step.done, total=step.total)

        synthesis.synthesise(folder, packages, seed, spoken)


def _train(material: dict[Split, Material], recipe: Recipe) -> Trained:
    # One thread computes gradients and one draws the next batch; more of them would wait for each other.
    torch.set_num_threads(1)
    with _progress() as progress:
        bar = progress.add_task("training", total=1.0)

        def stepped(step: Step) -> None:
            progress.update(bar, description=f"training: loss {step.loss:.2f}", completed=step.share)

        return train(material, recipe, stepped)


def _show_report(report: Report) -> None:
    bars = {bar.name: bar for bar in report.bars()}
    subsets = Table("inputs", title=f"Held-out digits, {report.triples} noisy triples (percent)", title_justify="left")
    for column in ("accuracy", "bar", "ECE", "bar", "clean accuracy"):
        subsets.add_column(column, justify="right")
    for figures in report.subsets:
        reached, calibrated = bars[f"accuracy {figures.name}"], bars[f"ECE {figures.name}"]
        subsets.add_row(
            figures.name,
            _verdict(reached.value, met=reached.met), f"≥ {reached.limit:g}",
            _verdict(calibrated.value, met=calibrated.met), f"≤ {calibrated.limit:g}",
            f"{figures.clean_accuracy:.2f}",
        )  # fmt: skip
    families = Table("voices", title="Speech alone (percent)", title_justify="left")
    for column in ("speakers", "clips", "noisy", "clean"):
        families.add_column(column, justify="right")
    for family in report.families:
        counts = str(family.voices), str(family.clips)
        families.add_row(family.family, *counts, f"{family.accuracy:.1f}", f"{family.clean_accuracy:.1f}")
    _out.print(subsets, families)
    gain, behind = bars["all minus best single"], bars["late fusion minus all"]
    _out.print(f"All three minus best single: {_verdict(gain.value, met=gain.met)} (≥ {gain.limit:g})")
    verdict = _verdict(behind.value, met=behind.met)
    _out.print(f"Late fusion: {report.late_fusion:.2f}, minus all: {verdict} (≤ {behind.limit:g})")
    _out.print(f"Same answer as FP32: FP16 {report.fp16_agreement:.2f}, BF16 {report.bf16_agreement:.2f}")


def _verdict(value: float, *, met: bool) -> str:
    return f"[{'green' if met else 'red'}]{value:.2f}[/]"


def _show_manifest(manifest: Manifest, parameters: int) -> None:
    table = Table(show_header=False, title=f"{manifest.name} {manifest.version}", title_justify="left")
    table.add_column()
    table.add_column(overflow="fold")
    specs = manifest.specs
    rows = {
        "parameters": f"{parameters:,} (preset {manifest.preset}, stored as {manifest.precision})",
        "labels": ", ".join(manifest.labels),
        "speech": f"{specs.speech.samples} samples at {specs.speech.sample_rate} Hz; takes "
        f"{specs.speech.min_rate}..{specs.speech.max_rate} Hz, up to {specs.speech.max_seconds:g} s",
        "image": f"{specs.image.height} x {specs.image.width} grey; takes up to {specs.image.max_pixels:,} pixels",
        "sensor": f"{specs.sensor.frames} frames of {', '.join(specs.sensor.channels)}",
        "weights SHA-256": manifest.weights_sha256,
    }
    for subset in range(1, SUBSETS):
        present = [name for place, name in enumerate(("speech", "image", "sensor")) if subset >> place & 1]
        rows[f"temperature {'+'.join(present)}"] = f"{manifest.temperatures[subset]:.3f}"
    rows |= {name.replace("_", " "): f"{value:g}" for name, value in manifest.metrics.items()}
    for name, value in rows.items():
        table.add_row(name, value)
    _out.print(table)
