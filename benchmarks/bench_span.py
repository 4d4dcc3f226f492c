"""A child span with seven attributes, started, made current, ended and exported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.util.types import AnyValue

from benchmarks.conftest import VARIANTS, opentelemetry, ours

if TYPE_CHECKING:
    from causal_otel.cli.demo.received import ReceivedSpans

ATTRIBUTES: dict[str, AnyValue] = {
    "db.system.name": "postgresql",
    "db.namespace": "shop",
    "db.query.summary": "SELECT orders",
    "db.query.text": "SELECT * FROM orders WHERE id = $1",
    "server.address": "db.internal",
    "server.port": 6432,
    "db.response.returned_rows": 20,
}


def _span(tracer: trace.Tracer) -> None:
    with tracer.start_as_current_span("SELECT orders", attributes=ATTRIBUTES):
        pass


def _nothing(tracer: trace.Tracer) -> None:
    pass


@pytest.mark.parametrize("variant", VARIANTS)
def test_child_span(compare: Any, receiver: ReceivedSpans, variant: str) -> None:
    """A span of one's own."""
    url = f"{receiver.endpoint}/v1/traces"
    tracing = {"bare": lambda: None, "opentelemetry": lambda: opentelemetry(url), "causal_otel": lambda: ours(url)}
    compare("child span", variant, tracing[variant](), _nothing if variant == "bare" else _span, 1)
