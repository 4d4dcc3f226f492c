"""The heat map of a query by brute force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status, TracesData

from causal_otel.collector.expressions import ERROR, And, Expression, Field, Or, conjuncts, leaves, whole
from causal_otel.collector.heat import HeatCell, HeatMap, asked_time, column_edges
from causal_otel.collector.heat import limits_of_row as limits
from causal_otel.collector.matching import matching_span, span_duration
from causal_otel.collector.query import Query
from causal_otel.collector.times import is_time

__all__ = ["cells", "heat", "matching_spans", "per_span"]

HOUR = 3600 * 10**9
DAY = 24 * HOUR
ROWS = [limits(row) for row in range(42)]


def heat(traces: Collection[TracesData], query: Query, columns: int) -> HeatMap:
    """By spans where the query asks only for what all spans of an operation have, or bounds; else one of each trace."""
    roots = whole(query) is None and not query.logs
    query = replace(query, where=Field("root", "=", "true")) if roots else query
    spans = [span for trace in traces for span in _spans(trace)]
    hours = [span.start_time_unix_nano // HOUR for span in spans if is_time(span.start_time_unix_nano)]
    # In the last hour that a table can tell are those whose time is none.
    hours = [hour for hour in hours if hour < (2**63 - 1) // HOUR]
    start, end = asked_time(query, (min(hours), max(hours)) if hours else None)
    told = per_span(query)
    width = 0 if not told or end - start <= DAY else DAY if end - start > 8 * DAY else HOUR
    edges = column_edges(start, end, columns, whole=width)
    query = replace(query, start=edges[0], end=edges[-1] - 1)
    found = matching_spans(traces, query) if told else [
        span for trace in traces if (span := matching_span(trace, query)) is not None
    ]  # fmt: skip
    return HeatMap(edges, cells(edges, found), roots)


def per_span(query: Query) -> bool:
    """Whether every span counts, not one of each trace."""
    return all(map(_is_told, conjuncts(whole(query))))


def _is_told(part: Expression) -> bool:
    if isinstance(part, And | Or):
        return all(isinstance(each, Field) and each.name not in ("duration", "status") for each in leaves(part))
    if isinstance(part, Field) and part.name == "duration":
        return part.operator not in ("=", "!=")
    if isinstance(part, Field) and part.name == "status":
        return (part.operator, part.value) == ("=", "error")
    return isinstance(part, Field) or part == ERROR


def matching_spans(traces: Collection[TracesData], query: Query) -> Iterator[Span]:
    """Every span that satisfies a query."""
    for trace in traces:
        for group in trace.resource_spans:
            for scoped in group.scope_spans:
                for span in scoped.spans:
                    alone = TracesData()
                    alone.resource_spans.add(resource=group.resource).scope_spans.add(scope=scoped.scope).spans.append(
                        span
                    )
                    if matching_span(alone, query) is not None:
                        yield span


def cells(edges: tuple[int, ...], spans: Collection[Span] | Iterator[Span]) -> tuple[HeatCell, ...]:
    """The cells that spans are in."""
    counts: Counter[tuple[int, int]] = Counter()
    errors: Counter[tuple[int, int]] = Counter()
    for span in spans:
        start, took = span.start_time_unix_nano, span_duration(span)
        column = next(at for at, after in enumerate(edges[1:]) if start < after)
        row = next(at for at, (least, most) in enumerate(ROWS) if least <= took and (most is None or took <= most))
        counts[column, row] += 1
        errors[column, row] += span.status.code == Status.STATUS_CODE_ERROR
    return tuple(HeatCell(*place, counts[place], errors[place]) for place in sorted(counts))


def _spans(trace: TracesData) -> Iterator[Span]:
    for group in trace.resource_spans:
        for scoped in group.scope_spans:
            yield from scoped.spans
