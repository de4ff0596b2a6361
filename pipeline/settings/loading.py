"""Reads the settings from all their sources and remembers which value is whose."""

import difflib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource
from pydantic_settings import SettingsError as UnreadableVariable

from pipeline.settings.root import PREFIX, Settings

CONFIG_PATH_VARIABLE = "TRIMODAL_CONFIG_PATH"
MODEL_PATH_VARIABLE = "TRIMODAL_MODEL_PATH"
STACK_FILE = Path(".local") / "stack.json"

Tree = dict[str, Any]


class SettingsError(Exception):
    """A setting is wrong. The message names it, says where it was read and what would be right."""


class Loaded:
    """Settings together with where each value came from."""

    def __init__(self, settings: Settings, origins: Mapping[tuple[str, str], str]) -> None:
        self.settings = settings
        self._origins = origins

    def rows(self) -> Iterator[tuple[str, Any, str, str]]:
        """Yields name, value, origin and description of every setting."""
        for section_name in Settings.model_fields:
            section = getattr(self.settings, section_name)
            for name, field in type(section).model_fields.items():
                origin = self._origins.get((section_name, name), "default")
                yield f"{section_name}.{name}", getattr(section, name), origin, field.description or ""


def load(config: Path | None = None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Loaded:
    """Reads the settings from all their sources.

    Args:
        config: YAML file; without it the one that TRIMODAL_CONFIG_PATH names, if any.
        overrides: section → name → value, from the command line.

    Raises:
        SettingsError: a file cannot be read, a key is unknown or a value is out of range.
    """
    values: dict[str, Tree] = {}
    origins: dict[tuple[str, str], str] = {}
    for origin, tree in _sources(config, overrides or {}):
        for section, entries in tree.items():
            _check_known(section, Settings.model_fields, f"section in {origin}")
            if not isinstance(entries, Mapping | None):
                raise SettingsError(
                    f"{section} in {origin} must hold settings such as {section}.NAME, not {entries!r}."
                )
            for name, value in (entries or {}).items():
                _check_known(name, _fields(section), f"setting of {section} in {origin}", section)
                values.setdefault(section, {})[name] = value
                origins[section, name] = origin
    try:
        return Loaded(Settings.model_validate(values), origins)
    except ValidationError as error:
        raise SettingsError(_sentences(error, origins)) from None


def _sources(config: Path | None, overrides: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Tree]]:
    """Yields the sources that are there, weakest first."""
    if (stack := _stack_file()) is not None:
        yield str(STACK_FILE), _stack_settings(stack)
    if config is None and (named := os.environ.get(CONFIG_PATH_VARIABLE)):
        config = Path(named)
    if config is not None:
        yield str(config), _yaml(config)
    yield "environment", _environment()
    yield "command line", {section: dict(entries) for section, entries in overrides.items()}


def _stack_file() -> Path | None:
    here = Path.cwd()
    return next((f for folder in (here, *here.parents) if (f := folder / STACK_FILE).is_file()), None)


def _stack_settings(file: Path) -> Tree:
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, KeyError) as error:
        raise SettingsError(f"{file} cannot be read ({error}): run `trimodal stack down`, then `up`.") from error
    assert isinstance(settings, dict)
    return settings


def _yaml(file: Path) -> Tree:
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"The settings file {file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"The settings file {file} is not UTF-8 text ({error}): save it as that.") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"The settings file {file} is not YAML: {error}") from error
    if not isinstance(tree, dict | None):
        raise SettingsError(f"The settings file {file} must hold sections such as `kafka:`, not {tree!r}.")
    return tree or {}


def _environment() -> Tree:
    sections = {f"{PREFIX}{section}__".upper(): section for section in Settings.model_fields}
    for variable in os.environ:
        if not variable.startswith(PREFIX) or variable in {CONFIG_PATH_VARIABLE, MODEL_PATH_VARIABLE}:
            continue
        if not any(variable.startswith(start) for start in sections):
            nearest = _nearest(variable, [f"{start}…" for start in sections])
            raise SettingsError(f"The environment variable {variable} is not a setting{nearest}")
    source = EnvSettingsSource(Settings, env_prefix=PREFIX, env_nested_delimiter="__")
    try:
        tree = source()
    except UnreadableVariable as error:
        raise SettingsError(
            f"In the environment, {_unreadable(source)} cannot be read: lists and mappings are written as JSON."
        ) from error
    if model_path := os.environ.get(MODEL_PATH_VARIABLE):
        tree.setdefault("serving", {}).setdefault("model_path", model_path)
    return tree


def _unreadable(source: EnvSettingsSource) -> str:
    """Returns the variable that `source` fails on, and its value: its own error names only the section."""
    for variable, value in source.env_vars.items():
        source.env_vars = {variable: value}
        try:
            source()
        except UnreadableVariable:
            return f"{variable.upper()} = {value!r}"
    return "a variable"


def _check_known(name: object, known: Mapping[str, Any], what: str, section: str | None = None) -> None:
    if name not in known:
        raise SettingsError(f"{name!r} is not a known {what}{_nearest(str(name), list(known), section)}")


def _nearest(name: str, known: list[str], section: str | None = None) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    start = f"{section}." if section else ""
    return f": did you mean {start}{near[0]}?" if near else f": known are {', '.join(start + k for k in known)}."


def _sentences(error: ValidationError, origins: Mapping[tuple[str, str], str]) -> str:
    lines = []
    for problem in error.errors():
        path = [str(part) for part in problem["loc"]]
        origin = origins.get((path[0], path[1]), "default") if len(path) > 1 else "all sources together"
        lines.append(f"{'.'.join(path)} = {problem['input']!r} (from {origin}): {_explained(path, problem)}.")
    return "\n".join(lines)


def _explained(path: list[str], problem: ErrorDetails) -> str:
    if path[0] == "optimization":
        return f"cannot be honoured. {_description(path)}"
    if problem["type"] == "string_pattern_mismatch":
        return f"not of its form: {_description(path)}"
    return problem["msg"].removeprefix("Value error, ")


def _description(path: list[str]) -> str:
    return (_fields(path[0])[path[1]].description or "").rstrip(".")


def _fields(section: str) -> Mapping[str, FieldInfo]:
    section_type = Settings.model_fields[section].annotation
    assert section_type is not None
    fields: Mapping[str, FieldInfo] = section_type.model_fields
    return fields
