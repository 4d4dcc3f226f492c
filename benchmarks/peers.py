"""The two tracers under comparison, in one process: OpenTelemetry's SDK with contrib's instrumentations, and ours.

Both come with or without export. Without, ended spans go as far as they go on the caller's path, into the queue of
the export thread, and what that makes of them is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace import sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

import causal_otel
from causal_otel.engine.provider import TracerProvider
from causal_otel.export.worker import Worker
from causal_otel.transports.otlp_http import HttpTransport
from causal_otel.transports.transport import Outcome, Verdict

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.util.types import AnyValue

__all__ = ["ATTRIBUTES", "NAME", "Peer", "opentelemetry", "ours"]

NAME = "SELECT orders"
ATTRIBUTES: dict[str, AnyValue] = {
    "db.system.name": "postgresql",
    "db.namespace": "shop",
    "db.query.summary": "SELECT orders",
    "db.query.text": "SELECT * FROM orders WHERE id = $1",
    "server.address": "db.internal",
    "server.port": 6432,
    "db.response.returned_rows": 20,
}
"""The seven attributes of a span in all benchmarks."""

_QUEUE = 16_384
"""More spans than a round makes, so that nothing may be dropped."""


@dataclass(frozen=True)
class Peer:
    """A tracer, ready for use."""

    provider: Any
    patched: Callable[[], AbstractContextManager[object]]
    """The drivers that were asked for are patched as long as the block lasts."""

    @property
    def tracer(self) -> Any:
        """The tracer of all benchmarks."""
        return self.provider.get_tracer("benchmark")

    def flush(self) -> None:
        """Export what has ended."""
        assert self.provider.force_flush(30_000), "not everything was exported"


class _NullExporter(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class _NullTransport:
    component = "null"

    def send(self, payload: bytes, deadline: float) -> Outcome:
        return Outcome(Verdict.DELIVERED)

    def close(self) -> None:
        pass

    abandon = close


def _sampler(sampled: bool) -> sampling.Sampler:
    return sampling.DEFAULT_ON if sampled else sampling.DEFAULT_OFF


@contextmanager
def opentelemetry(url: str | None = None, instrumentor: Any = None, *, sampled: bool = True) -> Iterator[Peer]:
    """The SDK, its batch processor, its OTLP exporter (None: one that exports nowhere), and an instrumentation."""
    provider = SdkTracerProvider(_sampler(sampled), Resource({"service.name": "benchmark"}))
    exporter = _NullExporter() if url is None else OTLPSpanExporter(url)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=_QUEUE))

    @contextmanager
    def patched() -> Iterator[None]:
        instrumentor.instrument(tracer_provider=provider)
        try:
            yield
        finally:
            instrumentor.uninstrument()

    try:
        yield Peer(provider, nullcontext if instrumentor is None else patched)
    finally:
        provider.shutdown()


@contextmanager
def ours(url: str | None = None, *patches: str, sampled: bool = True) -> Iterator[Peer]:
    """Our provider, worker, encoder and OTLP transport (None: one that sends nowhere), and patches."""
    provider = TracerProvider(_sampler(sampled), Resource({"service.name": "benchmark"}))
    provider.add_span_processor(
        Worker(lambda: _NullTransport() if url is None else HttpTransport(url), max_queue_size=_QUEUE)
    )

    @contextmanager
    def patched() -> Iterator[None]:
        installed = causal_otel.install(patches=patches, tracer_provider=provider)
        try:
            yield
        finally:
            installed.uninstall()

    try:
        yield Peer(provider, patched if patches else nullcontext)
    finally:
        provider.shutdown()
