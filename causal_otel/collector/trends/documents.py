"""Figures as JSON has them, for programs: durations in nanoseconds, times as Unix times in nanoseconds.

A collector answers them at ``/operations.json``, ``/errors.json`` and ``/map.json``. The command line prints their
rows, be they of a directory or such an answer; agents' tools read the answer back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.collector.conditions import is_like
from causal_otel.collector.error_labels import ErrorLabel
from causal_otel.collector.figures import OperationStatistics, Selected
from causal_otel.collector.query_line import operation as read_operation
from causal_otel.collector.trends.errors import ErrorGroup, Errors, FailedOperation, errors
from causal_otel.collector.trends.slower import Compared, compared
from causal_otel.collector.trends.topology import topology

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from causal_otel.collector.query import TraceReader
    from causal_otel.collector.trends.periods import Period

__all__ = [
    "INCOMPLETE",
    "errors_document",
    "figures",
    "incomplete",
    "operations_document",
    "read_errors",
    "read_operations",
]

INCOMPLETE = "incomplete_before_unix_nano"
"""What documents have if there was no time to read all: figures of what started before this time are missing."""


def incomplete(since: int, start: int) -> Mapping[str, int]:
    """What a document has besides: of a reader's ``since``, and when its time starts."""
    return {INCOMPLETE: since} if since > start else {}


def figures(reader: TraceReader, name: str, service: str | None, period: Period, operation: str = "") -> dict[str, Any]:
    """The document ``operations``, ``errors`` or ``map`` of a time.

    Args:
        reader: what has the figures.
        name: of the document.
        service: only what this one did; in the map: what it called, and who called it. None: all.
        period: the time. If the reader had no time for all of it, the document has :data:`INCOMPLETE`.
        operation: only operations with such a name, as a search has it: a part of it, ``*`` is any text, ``"NAME"`` in
            quotes is just this name. The map has none.

    Raises:
        ValueError: The operation cannot be understood.
    """
    exactly, like = read_operation(operation)

    def wants(name: str) -> bool:
        return exactly in (None, name) and (like is None or is_like(like, name))

    if name == "operations":
        found = reader.statistics(period.start, period.end, service)
        since = reader.since  # read now: what is missing of the time before is no figure of this one
        wanted = [each for each in found if wants(each.operation)]
        document = operations_document(compared(reader, wanted, period, service), period)
        return {**document, **incomplete(since, period.start)}
    if name == "errors":
        selected = Selected(service, exactly)
        document = errors_document(errors(reader, selected, period, lambda series: wants(series.operation)), period)
    else:
        document = topology(reader, period.start, period.end).around(service).document()
    return {**document, **incomplete(reader.since, period.start)}


def operations_document(operations: Iterable[Compared], period: Period) -> dict[str, Any]:
    """How operations went, and how in the time before."""
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
            "calls_before": each.calls_before,
            "p95_before_nano": each.p95_before,
            "change": each.change,
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


def read_operations(document: Mapping[str, Any]) -> list[OperationStatistics]:
    """The operations of such a document; it has no buckets."""
    return [
        OperationStatistics(
            service=row["service"],
            operation=row["operation"],
            kind=row["kind"],
            system=row["system"],
            calls=row["calls"],
            errors=row["errors"],
            total=row["total_nano"],
            longest=row["longest_nano"],
            p50=row["p50_nano"],
            p95=row["p95_nano"],
            p99=row["p99_nano"],
            buckets=(),
        )
        for row in document["operations"]
    ]


def read_errors(document: Mapping[str, Any]) -> Errors:
    """The errors of such a document."""
    groups = [
        ErrorGroup(
            label=ErrorLabel(row["type"], row["frame"]),
            count=row["spans"],
            requests=row["requests"],
            total=row["total_nano"],
            first=row["first_unix_nano"],
            last=row["last_unix_nano"],
            trend=tuple(row["trend"]),
            operations=tuple(
                FailedOperation(of["service"], of["operation"], of["kind"], of["system"], of["spans"])
                for of in row["operations"]
            ),
            versions=tuple((of["service"], of["version"], of["spans"]) for of in row["versions"]),
            trace_id=bytes.fromhex(row["trace_id"]),
            new=row["new"],
        )
        for row in document["errors"]
    ]
    return Errors(tuple(groups), document["spans"])


def _time(period: Period) -> dict[str, int]:
    return {"start_unix_nano": period.start, "end_unix_nano": period.end}
