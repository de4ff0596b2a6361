"""What a server's template and indices lack of what `template` asks for. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.search import template

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Lacks:
    """What an index lacks of what a new one would have.

    Attributes:
        alias: it is not behind the alias.
        fields: fields that it has no mapping for.
        lifecycle: the ILM policy does not hold for it.
        other_types: fields mapped otherwise; only a new index can have them right.
    """

    alias: bool = False
    fields: tuple[str, ...] = ()
    lifecycle: bool = False
    other_types: tuple[str, ...] = ()

    def sentences(self) -> Iterator[str]:
        """Yields each difference in words."""
        if self.alias:
            yield "is not behind the alias"
        if self.fields:
            yield f"has no field {', '.join(self.fields)}"
        if self.lifecycle:
            yield "is not under the ILM policy"
        if self.other_types:
            yield f"maps {', '.join(self.other_types)} otherwise, which only a new index can mend"

    @property
    def can_be_mended(self) -> bool:
        """Whether something can be done about it in place."""
        return self.alias or bool(self.fields) or self.lifecycle


def lacks(index: Json, alias: str, *, has_ilm: bool) -> Lacks:
    """Compares an index, as `GET /index?flat_settings` has it, with what a new one would be."""
    wanted = template.MAPPINGS["properties"]
    there = index.get("mappings", {}).get("properties", {})
    lifecycle = plain(_indexed(template.lifecycle_settings(alias))) if has_ilm else {}
    settings = plain(index.get("settings", {}))
    return Lacks(
        alias=alias not in index.get("aliases", {}),
        fields=tuple(name for name in _paths(wanted) if _at(there, name) is None),
        lifecycle=any(settings.get(name) != value for name, value in lifecycle.items()),
        other_types=tuple(
            name for name in _paths(wanted) if not _is_mapped_as(_at(there, name), _at(wanted, name) or {})
        ),
    )


def same_template(there: Json, wanted: Json) -> bool:
    """Compares an index template, as `GET /_index_template?flat_settings` has it, with one of `template`."""
    template_there, template_wanted = there.get("template", {}), wanted["template"]
    pairs = [
        (there.get("version"), wanted["version"]),
        (there.get("priority"), wanted["priority"]),
        (there.get("index_patterns"), wanted["index_patterns"]),
        (template_there.get("settings"), _indexed(template_wanted["settings"])),
        (template_there.get("mappings"), template_wanted["mappings"]),
        (template_there.get("aliases"), template_wanted["aliases"]),
    ]
    return all(plain(one) == plain(other) for one, other in pairs)


def plain(value: Any) -> Any:
    """Returns a value as Elasticsearch gives it back: numbers and booleans of settings have become texts."""
    match value:
        case Mapping():
            return {str(name): plain(item) for name, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case bool():
            return str(value).lower()
        case int():
            return str(value)
    return value


def _indexed(settings: Json) -> dict[str, Any]:
    return {f"index.{name}": value for name, value in settings.items()}


def _paths(properties: Json, prefix: str = "") -> Iterator[str]:
    for name, field in properties.items():
        yield f"{prefix}{name}"
        yield from _paths(field.get("properties", {}), f"{prefix}{name}.")


def _at(properties: Json, path: str) -> Json | None:
    first, _, rest = path.partition(".")
    field: Json | None = properties.get(first)
    return field if field is None or not rest else _at(field.get("properties", {}), rest)


def _is_mapped_as(there: Json | None, wanted: Json) -> bool:
    """Returns whether a field that is there has the wanted type; of an object the server leaves the type out."""
    if there is None:
        return True
    return there.get("type", "object") == wanted["type"] and there.get("normalizer") == wanted.get("normalizer")
