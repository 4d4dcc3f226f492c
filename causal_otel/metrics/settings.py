"""The settings with which metrics are exported by OTLP."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from causal_otel.load_settings import parse
from causal_otel.settings import Settings, table

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["for_metrics"]

_OF_TRACES = "_OTLP_TRACES_"


def for_metrics(settings: Settings, environ: Mapping[str, str] | None = None) -> Settings:
    """``settings`` as the transports and the destination of metrics read them.

    OpenTelemetry has a variable ``OTEL_EXPORTER_OTLP_METRICS_…`` for each ``OTEL_EXPORTER_OTLP_TRACES_…``. It takes
    that one's place. An argument, such as ``headers``, is meant for both.

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
        if name in changed or _OF_TRACES not in first or name in settings.given.get(name, {}):
            continue
        names = (first.replace(_OF_TRACES, "_OTLP_METRICS_"), *others)
        found = next(((it, text) for it in names if (text := variables.get(it, "").strip())), None)
        changed[name] = getattr(Settings(), name) if found is None else parse(setting, *found)
    return replace(settings, **changed)
