"""Puts the fusion consumer together from settings."""

import os

from consumers.errors import ModelMismatch
from consumers.fusion import FusionConsumer
from consumers.outputs import OutputBuilder
from pipeline.join.inspection import Inspector
from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.committer import Committer
from pipeline.kafka.contract import PartitionListener, Source
from pipeline.kafka.registry import codec
from pipeline.kafka.sink import KafkaSink
from pipeline.kafka.source import KafkaSource
from pipeline.model.bundle import SHIPPED, Bundle, load_bundle
from pipeline.model.inference import Inference, Predictor
from pipeline.model.request_log import LoggedPredictor
from pipeline.model.runtime import Runtime
from pipeline.settings import ModelSettings, Settings


def fusion_consumer(settings: Settings, predictor: Predictor | None = None) -> FusionConsumer:
    """Returns a consumer that is ready to run: topics checked, model warm, group about to be joined.

    Args:
        settings: everything.
        predictor: answers instead of the bundle's network; its bundle still names labels and input specs.

    Raises:
        KafkaFailure: the broker or the topics are not as needed.
        BrokenBundle: the bundle cannot be used.
        ModelMismatch: the bundle is not what the settings ask for.
        DeviceUnavailable: the device is not there.
    """
    partitions = TopicAdmin(settings.kafka, settings.topics).check()
    bundle = load_bundle(settings.serving.model_path or SHIPPED)
    check_model(bundle, settings.model)
    records = codec(settings.kafka, settings.topics)
    return FusionConsumer(
        settings,
        Inspector(records, partitions, settings.join.max_skew_ms, settings.topics.max_record_bytes),
        _inference(settings, bundle, predictor or _warm_runtime(settings, bundle)),
        OutputBuilder(records, settings, bundle.manifest),
        lambda listener: connect(settings, listener),
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


def _warm_runtime(settings: Settings, bundle: Bundle) -> Runtime:
    serving = settings.serving
    runtime = Runtime(
        bundle,
        device=serving.device,
        half_precision=serving.half_precision,
        batch_size=serving.batch_size,
        threads=serving.threads,
        compile_network=settings.optimization.enable_model_compilation,
    )
    runtime.warm_up()
    return runtime


def _inference(settings: Settings, bundle: Bundle, predictor: Predictor) -> Inference:
    return Inference(
        LoggedPredictor(predictor) if settings.monitoring.enable_request_logging else predictor,
        bundle.manifest.specs,
        min_modalities=settings.join.min_modalities,
        in_flight=settings.serving.max_concurrent_requests,
        decode_threads=max(2, (os.cpu_count() or 2) // 2),
        request_timeout_s=settings.serving.request_timeout,
    )


def connect(settings: Settings, listener: PartitionListener) -> tuple[Source, Committer]:
    """Makes the sink first: taking the transactional id ends a predecessor's open transaction."""
    sink = KafkaSink(settings.kafka, settings.topics)
    return KafkaSource(settings.kafka, settings.topics, listener), Committer(sink)
