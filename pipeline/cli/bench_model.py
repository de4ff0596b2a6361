"""The work of `trimodal bench model`; it loads PyTorch, so it is imported late."""

import json
from collections.abc import Iterable
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from pipeline.model import gpu
from pipeline.model.bundle import Bundle, load_bundle
from pipeline.model.config import PRESETS
from pipeline.model.errors import BrokenBundle
from pipeline.model.manifest import SHIPPED
from pipeline.model.runtime import Runtime
from pipeline.model.speed import Speed, known_peak, measure, random_bundle
from pipeline.settings import Settings

_out = Console()
_err = Console(stderr=True)


def run(settings: Settings, preset: str | None, batches: list[int], seconds: float, *, as_json: bool) -> None:
    """Measures and prints. Raises BrokenBundle, DeviceUnavailable, CompilationFailed or InferenceFailed."""
    serving = settings.serving
    runtime = Runtime(
        _bundle(settings, preset),
        device=serving.device,
        half_precision=serving.half_precision,
        batch_size=max(batches),
        threads=serving.workers,
        compile_network=settings.optimization.enable_model_compilation,
    )
    card = gpu.name(runtime.device) if runtime.device.type == "cuda" else None
    peak = known_peak(card) if card and runtime.precision == "float16" else None
    with _err.status("warming up"):
        runtime.warm_up()
    with _err.status("measuring"):
        speeds = list(measure(runtime, [batch for batch in batches if batch <= runtime.batch_size], seconds))
    if as_json:
        figures = [
            {**asdict(speed), "batch_ms": speed.batch_ms, "teraflops": speed.teraflops, "share": _share(speed, peak)}
            for speed in speeds
        ]
        head = {"model": runtime.bundle.manifest.name, "device": card or "cpu", "precision": runtime.precision}
        _out.print_json(json.dumps({**head, "peak_teraflops": peak, "batches": figures}))
        return
    _show(runtime, card, speeds, peak)
    if len(speeds) < len(batches):
        _err.print(f"Batches beyond {runtime.batch_size} do not fit into the memory of {card or 'this machine'}.")


def _bundle(settings: Settings, preset: str | None) -> Bundle:
    if preset is None:
        return load_bundle(settings.serving.model_path or SHIPPED)
    if preset not in PRESETS:
        raise BrokenBundle(f"There is no preset {preset!r}: use {' or '.join(PRESETS)}, or none for the bundle.")
    return random_bundle(preset)


def _share(speed: Speed, peak: float | None) -> float | None:
    return None if peak is None else speed.teraflops / peak


def _show(runtime: Runtime, card: str | None, speeds: Iterable[Speed], peak: float | None) -> None:
    where = card or f"CPU, {runtime.threads} threads"
    title = f"{runtime.bundle.manifest.name}, {runtime.precision}, {where}"
    table = Table("batch", title=title, title_justify="left")
    rates = "samples/s", "ms a batch", "TFLOP/s", "of FP16 peak", "host to result, samples/s"
    for column in (*rates, "memory MB, all sizes"):
        table.add_column(column, justify="right")
    for speed in speeds:
        share = _share(speed, peak)
        table.add_row(
            str(speed.batch),
            f"{speed.alone:,.0f}",
            f"{speed.batch_ms:.2f}",
            f"{speed.teraflops:.3g}",
            "-" if share is None else f"{share:.1%}",
            f"{speed.whole:,.0f}",
            f"{speed.memory_mb:,}",
        )
    _out.print(table)
