"""The operations of one trace: how often each ran, how long, and what of it the critical path waited for."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.causality.critical_path import Until
    from causal_otel.collector.analysis import Explained, SpanView

__all__ = ["COLUMNS", "OperationRow", "OperationTable", "by_operation"]

_MOST = 500
"""Rows of a page."""

COLUMNS = (
    ("service", "Service"),
    ("operation", "Operation"),
    ("calls", "Spans"),
    ("total", "Total"),
    ("own", "Own time"),
    ("path", "Of the path"),
    ("errors", "Errors"),
)
"""What the table can be sorted by, and what the columns are called."""


@dataclass(slots=True)
class OperationRow:
    """An operation: the spans of a service that have the same name, kind and system.

    Attributes:
        first: the first of its spans.
        calls: how many there are.
        total: their durations added up, in nanoseconds.
        own: the time in which nothing below them ran, added up.
        path: the share of the critical path that is in them, 0 to 1.
        errors: how many have failed.
    """

    first: SpanView
    calls: int = 0
    total: int = 0
    own: int = 0
    path: float = 0.0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class OperationTable:
    """The operations in their order, and how many more there are."""

    rows: tuple[OperationRow, ...]
    left_out: int


def by_operation(explained: Explained, until: Until, sort: str, *, ascending: bool = False) -> OperationTable:
    """The operations of a trace.

    Args:
        explained: the trace.
        until: where the critical path leads to.
        sort: one of :data:`COLUMNS`.
        ascending: whether the least come first; of text the first letters come first if it is not.
    """
    found: dict[tuple[str, str, int, str], OperationRow] = {}
    rows: list[OperationRow] = []
    for span in explained.view.spans:
        key = span.service, span.name, span.message.kind, span.system
        row = found.get(key)
        if row is None:
            row = found[key] = OperationRow(span)
        row.calls += 1
        row.total += span.duration
        row.own += span.self_time
        row.errors += span.error
        rows.append(row)
    segments = explained.path(until)
    whole = max(1, sum(segment.duration for segment in segments))
    lengths: defaultdict[int, int] = defaultdict(int)
    for segment in segments:
        lengths[segment.span.index] += segment.duration
    for index, length in lengths.items():
        rows[index].path += length / whole
    descending = (sort in ("service", "operation")) == ascending
    ordered = sorted(found.values(), key=_place(sort), reverse=descending)
    return OperationTable(tuple(ordered[:_MOST]), max(0, len(ordered) - _MOST))


def _place(sort: str) -> Callable[[OperationRow], Any]:
    if sort == "service":
        return lambda row: (row.first.service, row.first.name)
    if sort == "operation":
        return lambda row: (row.first.name, row.first.service)
    return lambda row: (getattr(row, sort), row.total, -row.first.index)
