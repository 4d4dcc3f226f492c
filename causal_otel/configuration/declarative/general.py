"""What the file says beside the three providers: resource, propagation, limits, instrumentations, our own settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from causal_otel._internal.setting_types import PAIRS
from causal_otel.configuration.others_names import patch_for
from causal_otel.configuration.tables import Citing, adjusted_patches, read_table
from causal_otel.settings.given import Origin

if TYPE_CHECKING:
    from causal_otel.configuration.declarative.reading import Reading
    from causal_otel.configuration.declarative.sections import Section
    from causal_otel.configuration.source import Source

__all__ = ["read_distribution", "read_general"]

_LIMITS = {
    "attribute_count_limit": "attribute_count_limit",
    "attribute_value_length_limit": "attribute_value_length_limit",
}
_CAPTURED = {"request_captured_headers": "request_headers", "response_captured_headers": "response_headers"}
_OTHER_LANGUAGES = ("cpp", "dotnet", "erlang", "go", "java", "js", "php", "ruby", "rust", "swift")
_TYPES = {"string": str, "double": float}
"""The types of attributes whose values YAML may have read as another one."""


def read_general(root: Section, reading: Reading) -> None:
    """Read all of that but our own settings."""
    root.take("file_format")
    reading.take(root, {"disabled": "sdk_disabled"})
    if root.take("log_level") not in (None, "info"):
        reading.refuse(root.name("log_level"), "set the level of the logger `causal_otel` of Python's logging")
    reading.take(root.section("attribute_limits"), _LIMITS)
    _resource(root.section("resource"), reading)
    _propagator(root, reading)
    _instrumentation(root.section("instrumentation/development"), reading)


def read_distribution(root: Section, place: str) -> Source:
    """What the file says by our own settings. What other distributions have there is for them.

    Raises:
        SettingError: there is no setting of such a name, or its value is not allowed.
    """
    ours = (root.take("distribution") or {}).get("causal_otel") or {}
    citing = Citing(Origin.FILE, place, "distribution.causal_otel")
    return read_table(ours, citing, os.path.dirname(os.path.abspath(place)))


def _resource(resource: Section, reading: Reading) -> None:
    listed = reading.parsed(PAIRS, resource.take("attributes_list"), resource.name("attributes_list"))
    attributes = {attribute["name"]: _attribute(attribute) for attribute in resource.take("attributes") or ()}
    found = {name: value for name, value in {**listed, **attributes}.items() if value is not None}
    reading.give("resource_attributes", found or None, resource.path)


def _attribute(attribute: dict[str, Any]) -> Any:
    value, convert = attribute.get("value"), _TYPES.get(attribute.get("type", "").removesuffix("_array"))
    if convert is None or value is None:
        return value
    return [convert(each) for each in value] if isinstance(value, list) else convert(value)


def _propagator(root: Section, reading: Reading) -> None:
    """What is left out propagates nothing, as OpenTelemetry says."""
    path = root.name("propagator" if "propagator" in root else "propagator (absent)")
    propagator = root.section("propagator")
    composite = [name for each in propagator.take("composite") or () for name in each]
    listed = (propagator.take("composite_list") or "").split(",")
    names = dict.fromkeys(filter(None, (*composite, *map(str.strip, listed))))
    reading.give("propagators", tuple(names) or ("none",), path)


def _instrumentation(instrumentation: Section, reading: Reading) -> None:
    for language in _OTHER_LANGUAGES:
        instrumentation.take(language)
    general = instrumentation.section("general")
    reading.take(general.section("http").section("server"), _CAPTURED)
    if "/dup" in (general.take("stability_opt_in_list") or ""):
        reading.refuse(general.name("stability_opt_in_list"), "only the stable conventions are followed")
    adjusted: dict[str, Any] = {}
    for name, options in (instrumentation.take("python") or {}).items():
        enabled = options.pop("enabled", True)
        adjusted[patch_for(name)] = (options or True) if enabled else False
    path = instrumentation.name("python")
    names, options = adjusted_patches(adjusted, Citing(Origin.FILE, reading.place, path))
    reading.give("patches", names, path)
    reading.patch_options |= options
