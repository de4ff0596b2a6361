"""Puts the model together from settings: in threads of this process for a GPU, in processes of its own for a CPU."""

import ctypes
from contextlib import suppress
from functools import partial

from pipeline.events.codec import Codec
from pipeline.kafka.registry import codec
from pipeline.model.contract import Predictor
from pipeline.model.cores import cores
from pipeline.model.inference import Inference, Model
from pipeline.model.manifest import Manifest
from pipeline.model.processes import InProcesses, Worker
from pipeline.model.specs import InputSpecs
from pipeline.model.threads import InThreads
from pipeline.model.verdicts import SampleDecoder, media_decoder
from pipeline.settings import Settings
from pipeline.telemetry import logs, metrics
from pipeline.telemetry.health import Health

RUNTIME = "consumers.runtime"
MOST_WORKERS = 8
_log = logs.logger(__name__)


def classifier(settings: Settings, records: Codec, manifest: Manifest, health: Health) -> Inference:
    """Returns the bundle's network, warm. Raises what `consumers.runtime.warm_runtime` does."""
    name = f"The model {manifest.name} {manifest.version}"
    health.note("model", f"{name} is being loaded.", ok=False)
    asked, device = _on_gpu(settings, records, manifest, health) or (_on_cpu(settings, health), "cpu")
    _log.info("model warm", model=manifest.name, version=manifest.version, device=device)
    health.note("model", f"{name} is loaded and warm on {device}.")
    metrics.note_build("fusion", manifest.name, manifest.version, device)
    return asked


def in_threads(settings: Settings, records: Codec, manifest: Manifest, predictor: Predictor) -> Inference:
    """Returns a predictor beside the consumer, in the same process."""
    decoder, timeout_s = _decoder(settings, records, manifest.specs), settings.serving.request_timeout
    return _inference(settings, InThreads(predictor, decoder, max(1, cores() // 2), timeout_s))


def _on_gpu(settings: Settings, records: Codec, manifest: Manifest, health: Health) -> tuple[Inference, str] | None:
    if settings.serving.device == "cpu" or (settings.serving.device == "auto" and not _has_driver()):
        return None
    from consumers import runtime  # noqa: PLC0415  (PyTorch takes seconds and 300 MB, and a CPU's workers have their own)

    device = runtime.gpu_of(settings)
    if device is None:
        return None
    asked = in_threads(settings, records, manifest, runtime.warm_runtime(settings))
    runtime.watch_gpu(device, health)
    return asked, str(device)


def _on_cpu(settings: Settings, health: Health) -> Inference:
    workers = settings.serving.workers or min(cores(), MOST_WORKERS)
    model = InProcesses(partial(_worker, settings), workers, preload=[RUNTIME])
    _log.info("processes of the model", pids=model.pids)
    health.note("gpu", f"No GPU is used (serving.device is {settings.serving.device}): the model runs on the CPU.")
    return _inference(settings, model)


def _worker(settings: Settings) -> Worker:
    """Runs in the worker's process."""
    from consumers import runtime  # noqa: PLC0415  (see above)

    logs.configure(settings.monitoring, program="fusion", replica=settings.kafka.replica)
    warm = runtime.warm_runtime(settings, threads=1)
    decoder = _decoder(settings, codec(settings.kafka, settings.topics), warm.bundle.manifest.specs)
    return Worker(warm, decoder, settings.serving.request_timeout)


def _decoder(settings: Settings, records: Codec, specs: InputSpecs) -> SampleDecoder:
    return SampleDecoder(media_decoder(records, specs), settings.join.min_modalities)


def _inference(settings: Settings, model: Model) -> Inference:
    in_flight, log = settings.serving.max_concurrent_requests, settings.monitoring.enable_request_logging
    return Inference(model, in_flight, settings.serving.request_timeout * (in_flight + 1), log=log)


def _has_driver() -> bool:
    """Whether the driver of NVIDIA's GPUs is there; without it PyTorch has none to offer."""
    with suppress(OSError):
        return bool(ctypes.CDLL("libcuda.so.1"))
    return False
