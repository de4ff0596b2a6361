"""What a server has of policy, template and indices, and how it gets the rest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from elasticsearch import ApiError, Elasticsearch, NotFoundError, TransportError

from pipeline.search import template
from pipeline.search.comparison import Lacks, lacks, plain, same_template
from pipeline.search.errors import Fatal, translated
from pipeline.settings import ElasticsearchSettings
from pipeline.telemetry.logs import logger

SETUP_TIMEOUT_S = 10.0
_WITHOUT_ILM = {400, 405, 410}
_log = logger(__name__)


class Policy(StrEnum):
    """How the ILM policy on a server stands to ours."""

    UNSUPPORTED = "unsupported"
    MISSING = "missing"
    DIFFERENT = "different"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class IndexState:
    """A dated index. `documents` counts what searches can see; `size_bytes` is with replicas."""

    name: str
    documents: int
    size_bytes: int
    lacks: Lacks


@dataclass(frozen=True, slots=True)
class Installation:
    """What the server has.

    Attributes:
        alias: the alias that was looked at.
        policy: the ILM policy.
        template_version: version of the index template; None if there is no template.
        same_template: whether the template is ours.
        indices: those behind the alias, and those that should be, in the order of their days.
    """

    alias: str
    policy: Policy
    template_version: int | None
    same_template: bool
    indices: tuple[IndexState, ...]

    @property
    def has_ilm(self) -> bool:
        """Whether the server knows policies at all."""
        return self.policy is not Policy.UNSUPPORTED

    @property
    def is_newer(self) -> bool:
        """Whether the template is of a newer trimodal than this."""
        return self.template_version is not None and self.template_version > template.VERSION

    def differences(self) -> Iterator[str]:
        """Yields a sentence for each difference to what this trimodal would install."""
        name = template.policy_name(self.alias)
        match self.policy:
            case Policy.MISSING:
                yield f"There is no ILM policy {name}."
            case Policy.DIFFERENT:
                yield f"The ILM policy {name} is not as elasticsearch.retention_days asks."
        if self.template_version is None and not self.same_template:
            yield f"There is no index template {self.alias}, or one without a version."
        elif self.is_newer:
            yield (
                f"The index template {self.alias} has version {self.template_version}, and this trimodal brings "
                f"version {template.VERSION}: it is left alone."
            )
        elif not self.same_template:
            yield (
                f"The index template {self.alias}, version {self.template_version}, is not that of this trimodal, "
                f"version {template.VERSION}."
            )
        for index in self.indices:
            for sentence in index.lacks.sentences():
                yield f"The index {index.name} {sentence}."


def install(client: Elasticsearch, settings: ElasticsearchSettings) -> tuple[str, ...]:
    """Makes the server ready for predictions: policy (where it has ILM), template, and what old indices lack.

    Doing it again changes nothing. A template of a newer trimodal is left alone, so that an old replica that
    restarts during an upgrade does not undo it.

    Returns:
        What was done, a sentence each; nothing if all was there.

    Raises:
        Retriable: the server does not answer.
        Fatal: it refuses; the message says what and why.
    """
    client = _hurried(client, settings)
    alias = settings.alias
    try:
        _refuse_an_index_of_that_name(client, alias)
        found = _examine(client, settings)
        done = list(_mend(client, settings, found))
    except (ApiError, TransportError) as error:
        raise translated(error, f"preparing the indices {template.pattern(alias)}", settings.url) from error
    policy = template.policy_name(alias) if found.has_ilm else "none: this server has no ILM"
    _log.info("index template installed", alias=alias, policy=policy, changes=done)
    return tuple(done)


def examine(client: Elasticsearch, settings: ElasticsearchSettings) -> Installation:
    """Looks at the server and changes nothing.

    Raises:
        Retriable: the server does not answer.
        Fatal: it refuses; the message says what and why.
    """
    try:
        return _examine(_hurried(client, settings), settings)
    except (ApiError, TransportError) as error:
        raise translated(error, f"examining {template.pattern(settings.alias)}", settings.url) from error


def delete_index(client: Elasticsearch, settings: ElasticsearchSettings, index: str) -> bool:
    """Deletes an index; returns whether it was there.

    Raises:
        SearchFailure: the server does not answer, or does not let us.
    """
    try:
        client.indices.delete(index=index)
    except NotFoundError:
        return False
    except (ApiError, TransportError) as error:
        raise translated(error, f"deleting {index}", settings.url) from error
    return True


def _hurried(client: Elasticsearch, settings: ElasticsearchSettings) -> Elasticsearch:
    return client.options(request_timeout=min(SETUP_TIMEOUT_S, settings.request_timeout_ms / 1_000))


def _examine(client: Elasticsearch, settings: ElasticsearchSettings) -> Installation:
    alias = settings.alias
    policy = _policy(client, alias, template.lifecycle_policy(settings.retention_days))
    has_ilm = policy is not Policy.UNSUPPORTED
    there = _template(client, alias)
    return Installation(
        alias,
        policy,
        there.get("version"),
        same_template(there, template.index_template(alias, has_ilm=has_ilm)),
        tuple(_indices(client, alias, has_ilm=has_ilm)),
    )


def _policy(client: Elasticsearch, alias: str, wanted: Mapping[str, Any]) -> Policy:
    name = template.policy_name(alias)
    try:
        found = client.ilm.get_lifecycle(name=name).body
    except NotFoundError:
        return Policy.MISSING
    except ApiError as error:
        if error.status_code in _WITHOUT_ILM:
            return Policy.UNSUPPORTED
        raise
    phases = found[name]["policy"]["phases"]
    return Policy.SAME if _without_defaults(phases) == plain(wanted["phases"]) else Policy.DIFFERENT


def _without_defaults(phases: Mapping[str, Any]) -> Any:
    """Returns the phases without what the server adds to the deletion."""
    phases = {name: dict(phase) for name, phase in phases.items()}
    if "delete" in phases.get("delete", {}).get("actions", {}):
        phases["delete"] = {**phases["delete"], "actions": {"delete": {}}}
    return plain(phases)


def _template(client: Elasticsearch, alias: str) -> Mapping[str, Any]:
    try:
        found = client.indices.get_index_template(name=alias, flat_settings=True).body
    except NotFoundError:
        return {}
    (entry,) = found["index_templates"]
    template_there: Mapping[str, Any] = entry["index_template"]
    return template_there


def _indices(client: Elasticsearch, alias: str, *, has_ilm: bool) -> Iterator[IndexState]:
    pattern = template.pattern(alias)
    found = client.indices.get(index=pattern, flat_settings=True).body
    sizes = client.indices.stats(index=pattern, metric=["docs", "store"]).body.get("indices", {}) if found else {}
    for name in sorted(found):
        if template.is_dated(name, alias):
            size = sizes.get(name, {})
            documents = size.get("primaries", {}).get("docs", {}).get("count", 0)
            size_bytes = size.get("total", {}).get("store", {}).get("size_in_bytes", 0)
            yield IndexState(name, documents, size_bytes, lacks(found[name], alias, has_ilm=has_ilm))


def _mend(client: Elasticsearch, settings: ElasticsearchSettings, found: Installation) -> Iterator[str]:
    alias, policy_name = settings.alias, template.policy_name(settings.alias)
    if found.policy in {Policy.MISSING, Policy.DIFFERENT}:
        client.ilm.put_lifecycle(name=policy_name, policy=template.lifecycle_policy(settings.retention_days))
        yield f"ILM policy {policy_name}: indices are deleted {settings.retention_days} days after their day."
    if not found.same_template and not found.is_newer:
        client.indices.put_index_template(name=alias, body=template.index_template(alias, has_ilm=found.has_ilm))
        yield f"Index template {alias}, version {template.VERSION}."
    for index in found.indices:
        if index.lacks.can_be_mended:
            _mend_index(client, alias, index)
            yield f"Index {index.name}: it {', '.join(index.lacks.sentences())}; mended what can be."


def _mend_index(client: Elasticsearch, alias: str, index: IndexState) -> None:
    if index.lacks.fields:
        names = {name.split(".")[0] for name in index.lacks.fields}
        properties = {name: template.MAPPINGS["properties"][name] for name in names}
        client.indices.put_mapping(
            index=index.name, properties=properties, dynamic_templates=template.MAPPINGS["dynamic_templates"]
        )
    if index.lacks.lifecycle:
        client.indices.put_settings(index=index.name, settings=template.lifecycle_settings(alias))
    if index.lacks.alias:
        client.indices.put_alias(index=index.name, name=alias)


def _refuse_an_index_of_that_name(client: Elasticsearch, alias: str) -> None:
    try:
        indices = client.indices.get_alias(index=alias)
    except NotFoundError:
        return
    if alias in indices:
        raise Fatal(
            f"Elasticsearch has an index called {alias}, and an alias of that name belongs there: "
            "delete or rename the index, or choose another elasticsearch.alias."
        )
