"""Traces in a directory, for the commands that read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.collector.store.writer import Writer
from tests.collector.analysis.making import BEGIN, MS, span, trace

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

__all__ = ["AFTER", "BEFORE", "ORDER", "REPORT", "TRACES", "keep"]

ORDER, REPORT = "0a" * 16, "0b" * 16
BEFORE, AFTER = "2023-11-14T22:13:20", "2023-11-14T22:15:00"
"""The time of both traces."""

assert BEGIN == 1_700_000_000_000 * MS

TRACES = {
    ORDER: trace(
        span("root", end=100, operation="POST /orders", kind="server", trace_id=ORDER),
        span(
            "query",
            "root",
            10,
            70,
            operation="SELECT orders",
            kind="client",
            trace_id=ORDER,
            attributes={"db.system.name": "postgresql", "causal.pool.wait": 0.045, "user.id": "42"},
        ),
        span(
            "call",
            "root",
            20,
            60,
            operation="GET",
            kind="client",
            error=True,
            message="no answer",
            trace_id=ORDER,
            attributes={"error.type": "timeout"},
        ),
        span("work", "gone", 90, 95, service="worker", kind="consumer", trace_id=ORDER),
    ),
    REPORT: trace(span("report", start=2_000, end=5_000, operation="GET /report", service="web", trace_id=REPORT)),
}
"""By their ids: :data:`ORDER` of the services api and worker, and :data:`REPORT` two seconds later, of web."""


def keep(directory: Path, *traces: TracesData) -> Path:
    """Write traces, by default :data:`TRACES`, to ``directory``; returns it."""
    writer = Writer(directory, retention_days=36_500, max_bytes=None)
    writer.start()
    try:
        for each in traces or TRACES.values():
            writer.put(each.SerializeToString()).result(30)
    finally:
        writer.close(30)
    return directory
