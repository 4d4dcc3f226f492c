"""The tracers under comparison, each alone in a process of its own, set up as its documentation says.

Each function starts one, and returns what exports the spans that have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Flush", "causal_otel", "ddtrace", "nothing", "opentelemetry", "sdk"]

Flush = Callable[[], object]

_FLUSH_MILLISECONDS = 30_000


def nothing() -> Flush:
    """No tracer."""
    return lambda: None


def sdk(otlp: str, sampled: bool) -> Any:
    """OpenTelemetry's provider with its batch processor and its OTLP exporter, as the global one."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider, sampling
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    sampler = sampling.DEFAULT_ON if sampled else sampling.DEFAULT_OFF
    provider = TracerProvider(sampler, Resource({"service.name": "benchmark"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(otlp), max_queue_size=65_536))
    trace.set_tracer_provider(provider)
    return provider


def opentelemetry(provider: Any, *instrumentors: Any) -> Flush:
    """Contrib's instrumentations, with :func:`sdk`'s provider."""
    for instrumentor in instrumentors:
        instrumentor.instrument(tracer_provider=provider)
    return lambda: provider.force_flush(_FLUSH_MILLISECONDS)


def ddtrace(**integrations: bool) -> Flush:
    """Datadog's tracer, which exports to the agent that ``DD_TRACE_AGENT_URL`` names."""
    import ddtrace
    from ddtrace.trace import tracer

    ddtrace.patch(**integrations)
    return tracer.flush


def causal_otel(otlp: str, sampled: bool, patches: Sequence[str], **settings: Any) -> Flush:
    """Ours, by ``install()``."""
    import causal_otel

    installed = causal_otel.install(
        service_name="benchmark",
        endpoint=otlp.removesuffix("/v1/traces"),
        protocol="http/protobuf",
        patches=patches,
        sampler="always_on" if sampled else "always_off",
        **settings,
    )
    return lambda: installed.flush(_FLUSH_MILLISECONDS / 1000)
