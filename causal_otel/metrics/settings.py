"""The settings with which metrics are exported by OTLP."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from causal_otel.configuration.checking import parse
from causal_otel.settings import Settings, table
from causal_otel.settings.given import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["for_metrics"]

_OF_TRACES = "_OTLP_TRACES_"


def for_metrics(settings: Settings, environ: Mapping[str, str] | None = None) -> Settings:
    """``settings`` as the transports and the destination of metrics read them.

    OpenTelemetry has a variable ``OTEL_EXPORTER_OTLP_METRICS_…`` for each ``OTEL_EXPORTER_OTLP_TRACES_…``. It takes
    that one's place. An argument, such as ``headers``, is meant for both, and so is what ``pyproject.toml`` has.
    OpenTelemetry's configuration file has an exporter for each.

    Args:
        settings: of the installation.
        environ: where the variables are; default: the process's environment.

    Raises:
        SettingError: a value is not allowed.
    """
    variables = os.environ if environ is None else environ
    changed: dict[str, Any] = {"exporter": "otlp", "traces_endpoint": settings.metrics_endpoint}
    for setting in table():
        name, (first, *others) = setting.name, setting.metadata["variables"] or [""]
        given = {it.origin: it.value for it in settings.given.get(name, ())}
        if name in changed or _OF_TRACES not in first or Origin.ARGUMENT in given:
            continue
        names = (first.replace(_OF_TRACES, "_OTLP_METRICS_"), *others)
        found = next(((it, text) for it in names if (text := variables.get(it, "").strip())), None)
        if found is not None:
            changed[name] = parse(setting, *found)
        elif settings.of_metrics is not None:
            changed[name] = settings.of_metrics[name]
        else:
            changed[name] = given.get(Origin.PYPROJECT, getattr(Settings(), name))
    return replace(settings, **changed)
