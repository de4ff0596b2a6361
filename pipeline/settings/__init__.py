"""All configuration.

A value comes from the first of: the command line, the environment (``TRIMODAL_SECTION__NAME``), the YAML file
(``--config`` or ``TRIMODAL_CONFIG_PATH``), the local stack that runs here (``.local/stack.json``), the default.
"""

from pipeline.settings.loading import Loaded, SettingsError, load
from pipeline.settings.root import Settings
from pipeline.settings.sections import (
    OFFSET_METADATA_BYTES,
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

__all__ = [
    "OFFSET_METADATA_BYTES",
    "BoardSettings",
    "ElasticsearchSettings",
    "JoinSettings",
    "KafkaSettings",
    "Loaded",
    "ModelSettings",
    "MonitoringSettings",
    "OptimizationSettings",
    "ServingSettings",
    "Settings",
    "SettingsError",
    "StatisticsSettings",
    "TopicSettings",
    "load",
]
