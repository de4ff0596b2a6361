"""All sections together."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.settings.sections import (
    BoardSettings,
    ElasticsearchSettings,
    JoinSettings,
    KafkaSettings,
    ModelSettings,
    MonitoringSettings,
    OptimizationSettings,
    ServingSettings,
    StatisticsSettings,
    TopicSettings,
)

PREFIX = "TRIMODAL_"


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    topics: TopicSettings = Field(default_factory=TopicSettings)
    join: JoinSettings = Field(default_factory=JoinSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    serving: ServingSettings = Field(default_factory=ServingSettings)
    optimization: OptimizationSettings = Field(default_factory=OptimizationSettings)
    monitoring: MonitoringSettings = Field(default_factory=MonitoringSettings)
    elasticsearch: ElasticsearchSettings = Field(default_factory=ElasticsearchSettings)
    statistics: StatisticsSettings = Field(default_factory=StatisticsSettings)
    board: BoardSettings = Field(default_factory=BoardSettings)
