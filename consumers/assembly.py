"""Puts the fusion consumer together from settings."""

from consumers.classifier import classifier, in_threads
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
from pipeline.model.contract import Predictor
from pipeline.model.manifest import SHIPPED, Manifest, read_manifest
from pipeline.settings import ModelSettings, Settings
from pipeline.telemetry.health import Health
from pipeline.telemetry.tracing import Tracer


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
    manifest = read_manifest(settings.serving.model_path or SHIPPED)
    check_model(manifest, settings.model)
    records, health = codec(settings.kafka, settings.topics), health or Health()
    if predictor is None:
        inference = classifier(settings, records, manifest, health)
    else:
        health.note("model", "A stand-in for the model answers.")
        inference = in_threads(settings, records, manifest, predictor)
    return FusionConsumer(
        settings,
        Inspector(records, partitions, settings.join.max_skew_ms, settings.topics.max_record_bytes),
        inference,
        OutputBuilder(records, settings, manifest, tracer=tracer),
        lambda listener: connect(settings, listener, partitions),
        health,
    )


def check_model(manifest: Manifest, wanted: ModelSettings) -> None:
    """Raises ModelMismatch if the bundle is not what `model.*` asks for."""
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


def connect(settings: Settings, listener: PartitionListener, partitions: int) -> tuple[Source, Committer]:
    """Makes the sink first: taking the transactional id ends a predecessor's open transaction."""
    sink = KafkaSink(settings.kafka, settings.topics)
    return KafkaSource(settings.kafka, settings.topics, listener, partitions), Committer(sink)
