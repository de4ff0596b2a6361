"""The settings of this call, which every command asks for here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.settings import Loaded, Settings, load

Overrides = Mapping[str, Mapping[str, Any]]

_config: Path | None = None
_common: Overrides = {}


def use(config: Path | None, overrides: Overrides) -> None:
    """Takes note of the options that stand before the command."""
    global _config, _common
    _config, _common = config, overrides


def loaded(overrides: Overrides | None = None) -> Loaded:
    """Reads the settings with their origins.

    Args:
        overrides: section → name → value, from the command's own options; None means not given.

    Raises:
        SettingsError: a setting is wrong.
    """
    given: dict[str, dict[str, Any]] = {section: dict(values) for section, values in _common.items()}
    for section, values in (overrides or {}).items():
        given.setdefault(section, {}).update({k: v for k, v in values.items() if v is not None})
    return load(_config, {section: values for section, values in given.items() if values})


def settings(overrides: Overrides | None = None) -> Settings:
    """Returns the settings; see `loaded`."""
    return loaded(overrides).settings
