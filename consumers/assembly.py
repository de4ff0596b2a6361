"""Puts the fusion consumer together from settings."""

from functools import partial

from consumers.errors import ModelMismatch
from consumers.fusion import FusionConsumer
from consumers.outputs import OutputBuilder
from pipeline.events.codec import Codec
from pipeline.join.inspection import Inspector
from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.committer import Committer
from pipeline.kafka.contract import PartitionListener, Source
from pipeline.kafka.registry import codec
from pipeline.kafka.sink import KafkaSink
from pipeline.kafka.source import KafkaSource
from pipeline.model import gpu
from pipeline.model.bundle import SHIPPED, Bundle, load_bundle
from pipeline.model.inference import Inference, Predictor, media_decoder
from pipeline.model.runtime import Runtime, cores
from pipeline.model.watched import WatchedPredictor
from pipeline.settings import ModelSettings, Settings
from pipeline.telemetry import metrics
from pipeline.telemetry.health import Health
from pipeline.telemetry.logs import logger
from pipeline.telemetry.tracing import Tracer

_log = logger(__name__)


def fusion_consumer(
    settings: Settings,
    predictor: Predictor | None = None,
    health: Health | None = None,
    tracer: Tracer | None = None,
) -> FusionConsumer:
    """Returns a consumer that is ready to run: topics checked, model warm, group about to be joined.

    Args:
        settings: everything.
        predictor: answers instead of the bundle's network; its bundle still names labels and input specs.
        health: is told how the replica is.
        tracer: shows predictions as spans.

    Raises:
        KafkaFailure: the broker or the topics are not as needed.
        BrokenBundle: the bundle cannot be used.
        ModelMismatch: the bundle is not what the settings ask for.
        DeviceUnavailable: the device is not there.
    """
    admin = TopicAdmin(settings.kafka, settings.topics)
    partitions = admin.check()
    settings = _with_map_limit(settings, admin.offset_metadata_bytes())
    bundle = load_bundle(settings.serving.model_path or SHIPPED)
    check_model(bundle, settings.model)
    records, health = codec(settings.kafka, settings.topics), health or Health()
    if predictor is None:
        predictor = _warm_runtime(settings, bundle, health)
    else:
        health.note("model", "A stand-in for the model answers.")
    return FusionConsumer(
        settings,
        Inspector(records, partitions, settings.join.max_skew_ms, settings.topics.max_record_bytes),
        _inference(settings, records, bundle, predictor),
        OutputBuilder(records, settings, bundle.manifest, tracer=tracer),
        lambda listener: connect(settings, listener, partitions),
        health,
    )


def check_model(bundle: Bundle, wanted: ModelSettings) -> None:
    """Raises ModelMismatch if the bundle is not what `model.*` asks for."""
    manifest = bundle.manifest
    found = {"name": manifest.name, "d_model": manifest.network.d_model, "num_classes": len(manifest.labels)}
    for setting, value in found.items():
        asked = getattr(wanted, setting)
        if asked is not None and asked != value:
            raise ModelMismatch(
                f"model.{setting} asks for {asked!r}, and the bundle {manifest.name} {manifest.version} has {value!r}: "
                "change the setting, or serving.model_path."
            )


def _with_map_limit(settings: Settings, offset_metadata_bytes: int) -> Settings:
    kafka = settings.kafka.model_copy(update={"offset_metadata_bytes": offset_metadata_bytes})
    return settings.model_copy(update={"kafka": kafka})


def _warm_runtime(settings: Settings, bundle: Bundle, health: Health) -> Runtime:
    serving, manifest = settings.serving, bundle.manifest
    health.note("model", f"The model {manifest.name} {manifest.version} is being loaded.", ok=False)
    runtime = Runtime(
        bundle,
        device=serving.device,
        half_precision=serving.half_precision,
        batch_size=serving.batch_size,
        threads=serving.threads,
        compile_network=settings.optimization.enable_model_compilation,
    )
    runtime.warm_up()
    _log.info("model warm", model=manifest.name, version=manifest.version, device=str(runtime.device))
    health.note("model", f"The model {manifest.name} {manifest.version} is loaded and warm on {runtime.device}.")
    if runtime.device.type == "cuda":
        metrics.watch_gpu(str(runtime.device), partial(gpu.memory, runtime.device))
        health.note("gpu", f"The model runs on {gpu.name(runtime.device)}.")
    else:
        health.note("gpu", f"No GPU is used (serving.device is {serving.device}): the model runs on the CPU.")
    metrics.note_build("fusion", manifest.name, manifest.version, str(runtime.device))
    return runtime


def _inference(settings: Settings, codec: Codec, bundle: Bundle, predictor: Predictor) -> Inference:
    return Inference(
        WatchedPredictor(predictor, log=settings.monitoring.enable_request_logging),
        media_decoder(codec, bundle.manifest.specs),
        min_modalities=settings.join.min_modalities,
        in_flight=settings.serving.max_concurrent_requests,
        decode_threads=max(1, cores() // 2),
        request_timeout_s=settings.serving.request_timeout,
    )


def connect(settings: Settings, listener: PartitionListener, partitions: int) -> tuple[Source, Committer]:
    """Makes the sink first: taking the transactional id ends a predecessor's open transaction."""
    sink = KafkaSink(settings.kafka, settings.topics)
    return KafkaSource(settings.kafka, settings.topics, listener, partitions), Committer(sink)
