"""The two services of OTLP that are taken here, traces and logs, and what is said of the third."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel._internal.log import logger

if TYPE_CHECKING:
    from google.protobuf.message import Message  # type: ignore[import-untyped]

    from causal_otel.collector.store.writer import Kept

__all__ = ["LOGS", "SERVICES", "TRACES", "Service", "no_metrics"]

_logger = logger(__name__)
_told: set[str] = set()

_NO_METRICS = "this collector takes traces and logs: set OTEL_METRICS_EXPORTER=none, or send metrics elsewhere"


class Service(NamedTuple):
    """A service that is taken here."""

    path: str
    """Over HTTP."""
    grpc: str
    """Its full name."""
    data: Any
    """The message that looks like the request, for JSON."""
    response: Any
    rejected: str
    """The field of the answer's partial success that says how many were not kept."""
    logs: bool

    def answer(self, kept: Kept) -> Message:
        """What to answer to a request of which so much was kept."""
        answer = self.response()
        if kept.rejected or kept.message:
            setattr(answer.partial_success, self.rejected, kept.rejected)
            answer.partial_success.error_message = kept.message
        return answer


TRACES = Service(
    path="/v1/traces",
    grpc="opentelemetry.proto.collector.trace.v1.TraceService",
    data=TracesData,
    response=ExportTraceServiceResponse,
    rejected="rejected_spans",
    logs=False,
)
LOGS = Service(
    path="/v1/logs",
    grpc="opentelemetry.proto.collector.logs.v1.LogsService",
    data=LogsData,
    response=ExportLogsServiceResponse,
    rejected="rejected_log_records",
    logs=True,
)
SERVICES = (TRACES, LOGS)


def no_metrics() -> str:
    """What to answer to metrics. It is logged as well, once: exporters over HTTP do not show answers."""
    if "metrics" not in _told:
        _told.add("metrics")
        _logger.warning("metrics are sent here: %s", _NO_METRICS)
    return _NO_METRICS
