"""Other tracers that are at work in this process: asked by ``causal-otel doctor``, which says what doubles.

Only modules that are imported already are looked at. Each reader knows one product and may fail: a version that keeps
its state elsewhere counts as not at work.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple

from causal_otel.instrument.untraced import instrumentations, version_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OtherTracer", "other_tracers", "span_processors"]


class OtherTracer(NamedTuple):
    """A tracer that is not ours.

    Attributes:
        name: its product's.
        version: empty where nobody can tell.
        traces: the libraries that it traces here, by the names they are imported by; None: nobody can tell.
    """

    name: str
    version: str = ""
    traces: tuple[str, ...] | None = None


def other_tracers(application: object = None) -> tuple[OtherTracer, ...]:
    """Those that are at work in this process.

    Args:
        application: that it serves, if it is known: FastAPI keeps what it was told in there.
    """
    found = [OtherTracer("FastAPI's own telemetry", _version("fastapi"), ())] if _fastapi_exports(application) else []
    for name, read in _READERS.items():
        with suppress(Exception):  # it keeps its state elsewhere in this version
            tracer = read(name)
            if tracer is not None:
                found.append(tracer)
    return tuple(found)


def span_processors(provider: object) -> tuple[str, ...] | None:
    """What gets the spans of a provider of the SDK's, by the names of classes; None: it is no such provider."""
    active = getattr(provider, "_active_span_processor", None)
    processors = getattr(active, "_span_processors", None)
    return tuple(type(each).__name__ for each in processors) if isinstance(processors, tuple) else None


def _module(name: str) -> Any:
    """A module, if it is imported."""
    return sys.modules.get(name)


def _ddtrace(name: str) -> OtherTracer | None:
    patched = set(getattr(_module("ddtrace._monkey"), "_PATCHED_MODULES", ()))
    enabled = getattr(getattr(_module("ddtrace.trace"), "tracer", None), "enabled", True)
    return OtherTracer(name, _version("ddtrace"), tuple(sorted(patched))) if patched and enabled else None


def _logfire(name: str) -> OtherTracer | None:
    config = getattr(_module("logfire._internal.config"), "GLOBAL_CONFIG", None)
    return OtherTracer(name, _version("logfire"), ()) if getattr(config, "_initialized", False) else None


def _sentry(name: str) -> OtherTracer | None:
    sdk = _module("sentry_sdk")
    client = None if sdk is None else sdk.get_client()
    if client is None or not client.is_active():
        return None
    traced = any(client.options.get(option) is not None for option in ("traces_sample_rate", "traces_sampler"))
    return OtherTracer(name, _version("sentry_sdk")) if traced else None


def _newrelic(name: str) -> OtherTracer | None:
    configured = getattr(_module("newrelic.config"), "_configuration_done", False)
    return OtherTracer(name, _version("newrelic")) if configured else None


def _elastic_apm(name: str) -> OtherTracer | None:
    client = getattr(_module("elasticapm.base"), "CLIENT_SINGLETON", None)
    enabled = client is not None and getattr(client.config, "enabled", True)
    return OtherTracer(name, _version("elasticapm")) if enabled else None


def _contrib(name: str) -> OtherTracer | None:
    traced, _ = instrumentations()
    if not traced:
        return None
    return OtherTracer(name, metadata.version("opentelemetry-instrumentation"), tuple(sorted(traced)))


def _fastapi_exports(application: object) -> bool:
    """Whether FastAPI adds exporters to the global provider, ours among them, when its application starts.

    It traces nothing that the patch ``asgi`` traces: that one says so in each request's scope.
    """
    endpoint = any(os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT") for signal in ("", "TRACES_"))
    told = getattr(application, "_telemetry", None)
    asked = os.environ.get("FASTAPI_OTEL_AUTO_CONFIGURE", "").lower() == "true"
    if isinstance(told, dict):
        asked = bool(told.get("auto_configure"))
    return asked and endpoint and "fastapi.telemetry" in sys.modules


def _version(module: str) -> str:
    found = sys.modules.get(module)
    return "" if found is None else version_of(found)


_READERS: dict[str, Callable[[str], OtherTracer | None]] = {
    "OpenTelemetry's instrumentations": _contrib,
    "ddtrace": _ddtrace,
    "Logfire": _logfire,
    "Sentry": _sentry,
    "New Relic": _newrelic,
    "Elastic APM": _elastic_apm,
}
