"""A request, and a time to send it until."""

from __future__ import annotations

import time

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["PAYLOAD", "soon"]

PAYLOAD = ExportTraceServiceRequest(
    resource_spans=[{"scope_spans": [{"spans": [{"name": "a"}]}]}]  # type: ignore[list-item]
).SerializeToString()


def soon(seconds: float = 10.0) -> float:
    """So many seconds from now, by ``time.monotonic()``."""
    return time.monotonic() + seconds
