"""Loads the bundle's network, warm. Imports PyTorch, which the consumer's own process needs for a GPU only."""

from functools import partial

import torch

from pipeline.model import gpu
from pipeline.model.bundle import load_bundle
from pipeline.model.manifest import SHIPPED
from pipeline.model.runtime import Runtime, choose_device
from pipeline.settings import Settings
from pipeline.telemetry import metrics
from pipeline.telemetry.health import Health


def gpu_of(settings: Settings) -> torch.device | None:
    """Returns the GPU that `serving.device` means; None is the CPU. Raises DeviceUnavailable if it is not there."""
    device = choose_device(settings.serving.device)
    return device if device.type == "cuda" else None


def warm_runtime(settings: Settings, threads: int | None = None) -> Runtime:
    """Returns the bundle's network, ready to answer.

    Raises:
        BrokenBundle: the bundle cannot be used.
        DeviceUnavailable: the device is not there.
        CompilationFailed: `torch.compile` does not work here.
        InferenceFailed: the model cannot even answer silence.
    """
    serving = settings.serving
    runtime = Runtime(
        load_bundle(serving.model_path or SHIPPED),
        device=serving.device,
        half_precision=serving.half_precision,
        batch_size=serving.batch_size,
        threads=threads,
        compile_network=settings.optimization.enable_model_compilation,
    )
    runtime.warm_up()
    return runtime


def watch_gpu(device: torch.device, health: Health) -> None:
    """Shows the GPU's memory as metrics, and its name."""
    metrics.watch_gpu(str(device), partial(gpu.memory, device))
    health.note("gpu", f"The model runs on {gpu.name(device)}.")
