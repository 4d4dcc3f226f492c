"""The requests of OTLP, by signal: which message, and where its records are.

A request of each signal is groups (by resource) of groups (by scope) of records, under the same field numbers, and the
answers have the same fields as well. Only the messages, the services and the records differ.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

__all__ = ["LOGS", "TRACES", "RequestKind"]


class RequestKind(NamedTuple):
    """A kind of request."""

    package: str
    """Of its service: ``trace`` in ``opentelemetry.proto.collector.trace.v1``."""
    name: str
    """Of the message."""
    fields: tuple[str, str, str]
    """The repeated fields inside each other: groups by resource, groups by scope, records."""

    def message(self) -> Any:
        """The class of the message; importing it takes some milliseconds."""
        module = import_module(f"opentelemetry.proto.collector.{self.package}.v1.{self.package}_service_pb2")
        return getattr(module, self.name)


TRACES = RequestKind("trace", "ExportTraceServiceRequest", ("resource_spans", "scope_spans", "spans"))
LOGS = RequestKind("logs", "ExportLogsServiceRequest", ("resource_logs", "scope_logs", "log_records"))
