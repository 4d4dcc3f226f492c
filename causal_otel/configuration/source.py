"""What one source says of the settings, and what is in force where several do."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from causal_otel.names import DEPLOYMENT_ENVIRONMENT_NAME, SERVICE_NAME, SERVICE_VERSION

if TYPE_CHECKING:
    from causal_otel.settings.given import Given

__all__ = ["NOTHING", "Source", "combined"]

_FORMS = {"traces_endpoint": 1, "endpoint": 2, "jaeger_host": 3, "jaeger_port": 3}
"""The settings that say where spans go. Those of one form go together, those of different forms exclude each other."""
_ATTRIBUTES = {
    "service_name": SERVICE_NAME,
    "service_version": SERVICE_VERSION,
    "environment": DEPLOYMENT_ENVIRONMENT_NAME,
}
"""Settings that are attributes of the resource as well."""

_RULES = "parentbased_rules"


class Source(NamedTuple):
    """What one source says: the arguments with the variables, or a file.

    Args:
        values: of settings, by name, checked.
        given: the same as it was given: the first of each is what the value was made of.
        patch_options: options of patches, by patch and option, as they were given.
        of_metrics: what it says of the export of metrics alone, by setting.
        warnings: what is odd about it, a sentence each.
    """

    values: Mapping[str, Any] = MappingProxyType({})
    given: Mapping[str, tuple[Given, ...]] = MappingProxyType({})
    patch_options: Mapping[str, Mapping[str, Given]] = MappingProxyType({})
    of_metrics: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()


NOTHING = Source()


def combined(*sources: Source) -> Source:
    """All sources as one: the first one that says something of a setting counts.

    The same may be said by several settings, such as where spans go by ``endpoint`` and ``jaeger_host``. A source that
    does so replaces what those below it say in other words. Resource attributes are put together.
    """
    values: dict[str, Any] = {}
    given: dict[str, tuple[Given, ...]] = {}
    options: dict[str, dict[str, Given]] = {}
    for source in sources:
        used = {name: value for name, value in source.values.items() if not _replaced(name, value, values)}
        for name, value in used.items():
            given[name] = given.get(name, ()) + source.given[name]
            if name == "resource_attributes":
                values[name] = {**value, **values.get(name, {})}
            else:
                values.setdefault(name, value)
        for patch, table in source.patch_options.items():
            options[patch] = {**table, **options.get(patch, {})}
    of_metrics = next((source.of_metrics for source in sources if source.of_metrics is not None), None)
    return Source(values, given, options, of_metrics, sum((source.warnings for source in sources), ()))


def _replaced(name: str, value: object, above: Mapping[str, Any]) -> bool:
    """Whether a source above has said the same in other words."""
    if name in _FORMS:
        return any(_FORMS[other] != _FORMS[name] for other in above.keys() & _FORMS.keys())
    if name == "exporter" and value in ("otlp", "jaeger"):  # the ways to say where; `console` and `none` are others
        return not above.keys().isdisjoint(_FORMS)
    if name == "sampling_file":  # other samplers do not read it
        return "sampler" in above and above["sampler"] != _RULES
    if name in ("sampler", "sampler_arg"):
        return "sampling_file" in above or "sampler" in above
    return _ATTRIBUTES.get(name) in above.get("resource_attributes", ())
