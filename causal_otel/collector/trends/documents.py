"""Figures as JSON has them, for programs: durations in nanoseconds, times as Unix times in nanoseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.collector.query import Selected
from causal_otel.collector.trends.errors import errors
from causal_otel.collector.trends.topology import topology

if TYPE_CHECKING:
    from collections.abc import Iterable

    from causal_otel.collector.query import OperationStatistics, TraceReader
    from causal_otel.collector.trends.errors import Errors
    from causal_otel.collector.trends.periods import Period

__all__ = ["errors_document", "figures", "operations_document"]


def figures(reader: TraceReader, name: str, service: str | None, period: Period) -> dict[str, Any]:
    """The document ``operations``, ``errors`` or ``map`` of a time.

    Args:
        reader: what has the figures.
        name: of the document.
        service: only what this one did; in the map: what it called, and who called it. None: all.
        period: the time.
    """
    if name == "operations":
        return operations_document(reader.statistics(period.start, period.end, service), period)
    if name == "errors":
        return errors_document(errors(reader, Selected(service), period), period)
    return topology(reader, period.start, period.end).around(service).document()


def operations_document(operations: Iterable[OperationStatistics], period: Period) -> dict[str, Any]:
    """How operations went."""
    rows = [
        {
            "service": each.service,
            "operation": each.operation,
            "kind": each.kind,
            "system": each.system,
            "calls": each.calls,
            "errors": each.errors,
            "p50_nano": each.p50,
            "p95_nano": each.p95,
            "p99_nano": each.p99,
            "longest_nano": each.longest,
            "total_nano": each.total,
        }
        for each in operations
    ]
    return {**_time(period), "operations": rows}


def errors_document(errors: Errors, period: Period) -> dict[str, Any]:
    """What failed."""
    rows = [
        {
            "type": each.label.type,
            "frame": each.label.frame,
            "spans": each.count,
            "requests": each.requests,
            "total_nano": each.total,
            "first_unix_nano": each.first,
            "last_unix_nano": each.last,
            "new": each.new,
            "trend": each.trend,
            "operations": [
                {
                    "service": of.service,
                    "operation": of.operation,
                    "kind": of.kind,
                    "system": of.system,
                    "spans": of.count,
                }
                for of in each.operations
            ],
            "versions": [
                {"service": service, "version": version, "spans": spans} for service, version, spans in each.versions
            ],
            "trace_id": each.trace_id.hex(),
        }
        for each in errors.groups
    ]
    return {**_time(period), "step": period.step, "spans": errors.count, "errors": rows}


def _time(period: Period) -> dict[str, int]:
    return {"start_unix_nano": period.start, "end_unix_nano": period.end}
