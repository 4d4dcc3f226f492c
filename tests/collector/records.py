"""Log records for tests of the collector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData

from tests.collector.spans import NOON, trace_id

__all__ = ["bodies", "log_request", "record"]


def record(
    body: str,
    *,
    trace: int = 1,
    span: int = 1,
    at: int = NOON,
    severity: int = 9,
    tags: dict[str, str] | None = None,
) -> LogRecord:
    """A record; ``trace`` 0: of none."""
    made = LogRecord(
        time_unix_nano=at,
        observed_time_unix_nano=at,
        severity_number=severity,  # type: ignore[arg-type]
        severity_text={9: "INFO", 13: "WARN", 17: "ERROR"}.get(severity, ""),
        trace_id=trace_id(trace) if trace else b"",
        span_id=span.to_bytes(8, "big") if trace and span else b"",
        flags=1 if trace else 0,
    )
    made.body.string_value = body
    for key, value in (tags or {}).items():
        made.attributes.add(key=key).value.string_value = value
    return made


def log_request(*records: LogRecord, service: str = "shop", logger: str = "shop.cart") -> bytes:
    """A serialized request with records."""
    message: Any = ExportLogsServiceRequest()
    group = message.resource_logs.add(schema_url="https://schema")
    group.resource.attributes.add(key="service.name").value.string_value = service
    scoped = group.scope_logs.add()
    scoped.scope.name = logger
    scoped.log_records.extend(records)
    serialized: bytes = message.SerializeToString()
    return serialized


def bodies(found: LogsData | None) -> list[str]:
    """What the records say, sorted."""
    groups: Iterable[Any] = () if found is None else found.resource_logs
    return sorted(
        each.body.string_value for group in groups for scoped in group.scope_logs for each in scoped.log_records
    )
