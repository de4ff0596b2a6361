"""One frozen model a section; every value has a unit in its name and a sentence."""

import socket
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.events.records import Modality

OFFSET_METADATA_BYTES = 4_096
"""Kafka's default of offset.metadata.max.bytes."""

Count = Annotated[int, Field(ge=1)]
Milliseconds = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """What all sections share: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class KafkaSettings(Section):
    """The brokers and this program's place in its consumer group."""

    bootstrap_servers: str = Field(default="127.0.0.1:9092", min_length=1)
    """Brokers to start from: host:port, comma-separated."""
    schema_registry_url: str | None = None
    """With it, records are written in the Confluent wire format; without, in Avro single-object encoding."""
    client_options: dict[str, str] = Field(default_factory=dict)
    """Further librdkafka properties for every client, such as security.protocol or sasl.*."""
    group: str = Field(default="trimodal-fusion", min_length=1)
    """Consumer group of the fusion replicas. To the other programs' groups '-indexer' and '-statistics' are added."""
    replica: str = Field(default_factory=socket.gethostname, min_length=1)
    """Stable name of this replica: its group.instance.id and transactional.id. Unique within the group."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where a group that has never committed begins."""
    session_timeout_ms: Annotated[int, Field(ge=6_000)] = 30_000
    """How long a replica may be silent before its lanes go to others."""
    transaction_timeout_ms: Annotated[int, Field(ge=1_000, le=60_000)] = 10_000
    """How long the broker keeps a dead process's transaction open."""
    offset_metadata_bytes: Annotated[int, Field(ge=256)] | None = None
    """What the brokers' offset.metadata.max.bytes allows an offset map to have; without it they are asked."""
    retry_backoff_ms: Annotated[int, Field(ge=1)] = 2
    """Wait before a transactional request is repeated; librdkafka's own 100 ms would slow every commit."""
    call_timeout_ms: Annotated[int, Field(ge=1_000)] = 30_000
    """How long one administrative or transactional call may take before it counts as failed."""
    delivery_timeout_ms: Annotated[int, Field(ge=1_000)] = 180_000
    """How long a record is tried to be published outside transactions: longer than the outage to be sat out."""
    watchdog_ms: Annotated[int, Field(ge=1_000)] = 90_000
    """How long one may hang beyond that in the client before the process ends itself, with its stacks."""

    @property
    def heartbeat_ms(self) -> int:
        """How often a replica tells the group that it lives: the longest until it hears that another has its name."""
        return min(3_000, self.session_timeout_ms // 3)

    @property
    def map_characters(self) -> int:
        """Most characters of an offset map: the client appends a NUL."""
        return (self.offset_metadata_bytes or OFFSET_METADATA_BYTES) - 1

    @field_validator("client_options", mode="before")
    @classmethod
    def _texts(cls, options: object) -> object:
        return {k: str(v) for k, v in options.items()} if isinstance(options, dict) else options


class TopicSettings(Section):
    """The topics and how they are made."""

    prefix: str = ""
    """Put before every topic name."""
    partitions: Count = 6
    """Partitions of each source topic: the number of lanes, so the most replicas that can share the work."""
    replication_factor: Count | None = None
    """Copies of each partition; without it the broker's default."""
    retention_ms: Annotated[int, Field(ge=-1)] = 7 * 24 * 3_600_000
    """How long records are kept; -1 for ever."""
    max_record_bytes: Annotated[int, Field(ge=1_024)] = 4 * 2**20
    """Largest source value that is taken; a larger one is dead-lettered TOO_LARGE."""

    def source(self, modality: Modality) -> str:
        """Returns the name of a modality's source topic."""
        return self.prefix + modality.name.lower()

    @property
    def sources(self) -> tuple[str, str, str]:
        """The three source topics in the order of the modalities."""
        return self.source(Modality.SPEECH), self.source(Modality.IMAGE), self.source(Modality.SENSOR)

    @property
    def predictions(self) -> str:
        """Name of the topic of predictions."""
        return f"{self.prefix}predictions"

    @property
    def dead_letters(self) -> str:
        """Name of the topic of dead letters."""
        return f"{self.prefix}dead-letters"

    @property
    def statistics(self) -> str:
        """Name of the topic of statistics."""
        return f"{self.prefix}statistics"

    @property
    def statistics_changelog(self) -> str:
        """Name of the topic that the statistics program keeps its open windows in."""
        return f"{self.prefix}statistics-changelog"


class JoinSettings(Section):
    """When events of one key belong together, and how long they wait for each other."""

    window_ms: Annotated[int, Field(ge=1)] = 10_000
    """Event time that a key waits for its missing inputs; afterwards the key may be used again."""
    out_of_order_ms: Milliseconds = 2_000
    """How far behind the newest event time of its partition an event may come."""
    idle_ms: Annotated[int, Field(ge=1)] = 1_000
    """How long a partition must have been at its end before its lane no longer waits for it."""
    min_modalities: Annotated[int, Field(ge=1, le=3)] = 2
    """Inputs that are enough for a partial prediction at the deadline."""
    amend_ms: Milliseconds = 10_000
    """How long after a partial prediction's deadline a missing input still amends it; 0 for never."""
    max_skew_ms: Milliseconds = 60_000
    """How far an event time may be ahead of the broker's timestamp."""
    max_lead_ms: Annotated[int, Field(ge=1)] = 30_000
    """Event time that a partition may run ahead of its lane's slowest before it is paused."""
    max_bytes: Annotated[int, Field(ge=2**20)] = 256 * 2**20
    """Payload that may wait in open windows and for the model before everything is paused."""
    commit_min_ms: Milliseconds = 5
    """Least time between two commits of a replica that keeps up; one that is behind waits a tenth of a second."""


class ModelSettings(Section):
    """What the bundle must be; a bundle that is not is refused at start. Empty values ask for nothing."""

    name: str | None = None
    """Required name of the bundle."""
    d_model: Count | None = None
    """Required width of the network."""
    tasks: tuple[Literal["classification"], ...] = ("classification",)
    """What the model is used for."""
    num_classes: Count | None = None
    """Required number of labels."""


class ServingSettings(Section):
    """How the model is run."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """auto (CUDA if there is one, else the CPU), cpu, cuda or cuda:N."""
    batch_size: Annotated[int, Field(ge=1, le=4_096)] = 64
    """Most samples in one call of the model."""
    half_precision: bool = True
    """FP16 on CUDA. The CPU computes in FP32 either way."""
    model_path: Path | None = None
    """Folder of the model bundle (also TRIMODAL_MODEL_PATH); without it the shipped digits bundle."""
    max_concurrent_requests: Annotated[int, Field(ge=1, le=64)] = 4
    """Batches that may be between join and result at a time."""
    request_timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds that one batch may take before the process ends itself, with its stacks."""
    max_wait_ms: Milliseconds = 5
    """How long the oldest sample waits for a batch to fill."""
    workers: Count | None = None
    """Processes that decode media and run the model on a CPU; without it one for each core, at most eight."""


class OptimizationSettings(Section):
    """Optimizations of the model; those that cannot be honoured are refused, never ignored."""

    enable_tensorrt: Literal[False] = False
    """TensorRT engines: not supported."""
    enable_model_compilation: bool = False
    """Run the network through torch.compile. It takes a minute or more to start and needs a C++ compiler."""
    memory_pool_size: None = None
    """A fixed pool of device memory: not supported yet; PyTorch's caching allocator sizes itself."""


class MonitoringSettings(Section):
    """What the programs tell about themselves."""

    enable_metrics: bool = True
    """Serve Prometheus metrics and health over HTTP."""
    metrics_host: str = "127.0.0.1"
    """Address that metrics and health are served on."""
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """Port that metrics and health are served on; 0 picks a free one and logs it."""
    stalled_after_ms: Annotated[int, Field(ge=1_000)] = 180_000
    """Without a step of the main loop for so long, /healthz fails; longer than a call to Kafka may take."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severity that is logged."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """auto: readable on a terminal, JSON elsewhere."""
    tracing_endpoint: str | None = None
    """Address of an OpenTelemetry collector (OTLP over HTTP), such as http://127.0.0.1:4318; without it no spans."""
    tracing_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the traces started by our own producers that are kept; a trace that came is kept as its starter says."""
    enable_request_logging: bool = False
    """A log line for every batch that the model answers."""

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, level: object) -> object:
        return level.upper() if isinstance(level, str) else level


class ElasticsearchSettings(Section):
    """Where predictions are indexed."""

    url: str = "http://127.0.0.1:9200"
    """Address of the cluster."""
    api_key: str | None = None
    """API key, as Elasticsearch encodes it."""
    username: str | None = None
    """User for basic authentication."""
    password: str | None = None
    """Password for basic authentication."""
    alias: str = Field(default="predictions", pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Alias over the dated indices and first part of their names: lower-case letters, digits, - and _."""
    bulk_documents: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Most documents in one bulk request."""
    request_timeout_ms: Annotated[int, Field(ge=100)] = 30_000
    """How long one request may take."""
    retention_days: Count = 30
    """Age at which an index is deleted, where the server has ILM."""

    @model_validator(mode="after")
    def _one_way_in(self) -> "ElasticsearchSettings":
        if self.api_key and self.username:
            raise ValueError("set api_key or username and password, not both")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        return self


class StatisticsSettings(Section):
    """How predictions are counted."""

    windows_ms: tuple[Annotated[int, Field(ge=1_000)], ...] = Field(default=(10_000, 60_000), min_length=1)
    """Lengths of the tumbling windows of event time, shortest first; each is a multiple of the one before."""
    keep_ms: Annotated[int, Field(ge=1_000)] = 300_000
    """How far behind the newest event time a window stays open for late predictions, and in the web view."""
    publish_ms: Annotated[int, Field(ge=50)] = 1_000
    """How often what has changed in the windows is published and kept."""
    web_host: str = "127.0.0.1"
    """Address of the web view."""
    web_port: Annotated[int, Field(ge=0, le=65_535)] = 6_066
    """Port of the web view; 0 picks a free one and logs it."""

    @model_validator(mode="after")
    def _nested(self) -> "StatisticsSettings":
        for shorter, longer in pairwise(self.windows_ms):
            if longer <= shorter or longer % shorter:
                raise ValueError(f"windows_ms must grow by multiples, and {longer} is none of {shorter}")
        if self.keep_ms < self.windows_ms[-1]:
            raise ValueError(f"keep_ms must be at least the longest window, {self.windows_ms[-1]}")
        return self


class BoardSettings(Section):
    """The live page."""

    host: str = Field(default="127.0.0.1", min_length=1)
    """Address that the page is served on. It asks for no password: whoever reaches it sees what is in the topics."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8_765
    """Port that the page is served on; 0 picks a free one and logs it."""
    names: tuple[str, ...] = ()
    """Host names it may be asked by, beside those of this machine, where host is a loopback address; for a proxy."""
    shown_per_second: Annotated[float, Field(gt=0, le=20)] = 2.0
    """Most predictions that are shown in a second; the rest are counted."""
    max_viewers: Count = 64
    """Most browsers that may watch at a time."""
