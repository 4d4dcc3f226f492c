from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from causal_otel.causality.long_spans import observer
from causal_otel.engine.provider import TracerProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.trace import Tracer


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Keeps what was exported."""
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    """A provider of ours that tells long spans what is learned of them, and exports into ``exporter``."""
    provider = TracerProvider(resource=Resource({"service.name": "tests"}), span_limits=SpanLimits())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.core.long_span = observer()
    yield provider
    provider.shutdown()


@pytest.fixture
def tracer(provider: TracerProvider) -> Tracer:
    """A tracer of that provider."""
    return provider.get_tracer("tests")
