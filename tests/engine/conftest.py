from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from causal_otel.engine.provider import TracerProvider

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Keeps what was exported."""
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    """A provider of ours that exports into ``exporter``."""
    provider = TracerProvider(resource=Resource({"service.name": "tests"}), span_limits=SpanLimits())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider
    provider.shutdown()
