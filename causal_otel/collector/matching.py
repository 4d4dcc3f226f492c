"""Whether a trace satisfies a query, and the summary of a trace.

The store finds candidates by its indexes, and :func:`matching_span` decides.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from opentelemetry.proto.trace.v1.trace_pb2 import Status

from causal_otel.collector.attributes import KINDS, plain, service_name, tags, text
from causal_otel.collector.conditions import holds, is_like
from causal_otel.collector.query import ServiceCount, Summary
from causal_otel.collector.systems import OTHERS, system_of
from causal_otel.collector.times import is_time, length

if TYPE_CHECKING:
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, TracesData

    from causal_otel.collector.query import Query

__all__ = ["kind_name", "matching_span", "span_duration", "summary"]


def span_duration(span: Span) -> int:
    """Nanoseconds from start to end; 0 if they are no real times, see :func:`~causal_otel.collector.times.length`."""
    return length(span.start_time_unix_nano, span.end_time_unix_nano)


def kind_name(span: Span) -> str:
    """The span's kind as queries name it; one that OTLP does not know is ``unspecified``."""
    return KINDS[span.kind] if 0 <= span.kind < len(KINDS) else KINDS[0]


def matching_span(trace: TracesData, query: Query) -> Span | None:
    """The span that starts last of those that satisfy all of ``query``'s conditions, or None."""
    best: Span | None = None
    for group in trace.resource_spans:
        if query.service is not None and service_name(group.resource) != query.service:
            continue
        wanted = _TagsWanted(query, group.resource)
        for scoped in group.scope_spans:
            for span in scoped.spans:
                later = best is None or span.start_time_unix_nano > best.start_time_unix_nano
                if later and _matches(span, query) and wanted.are_on(span, scoped):
                    best = span
    return best


class _TagsWanted:
    """What a query asks of the tags of the spans of a resource."""

    def __init__(self, query: Query, resource: Resource) -> None:
        self._tags = set(query.tags)
        self._conditions = query.conditions
        self._keys = {key for key, _ in self._tags}.union(each.key for each in self._conditions)
        # The resource has them for all of its spans.
        self._of_resource = [
            (pair.key, text(plain(pair.value))) for pair in resource.attributes if pair.key in self._keys
        ]
        self._tags.difference_update(self._of_resource)

    def are_on(self, span: Span, scoped: ScopeSpans) -> bool:
        """Whether a span has them."""
        if not self._tags and not self._conditions:
            return True
        found = list(tags(span, scoped.scope, self._keys))
        if not self._tags.issubset(found):
            return False
        found += self._of_resource
        return all(holds(each, [text for key, text in found if key == each.key]) for each in self._conditions)


def _matches(span: Span, query: Query) -> bool:
    if not query.start <= span.start_time_unix_nano <= query.end:
        return False
    if query.operation is not None and span.name != query.operation:
        return False
    if query.operation_like is not None and not is_like(query.operation_like, span.name):
        return False
    if query.kind is not None and kind_name(span) != query.kind:
        return False
    if query.system not in (None, OTHERS) and system_of(span) != query.system:
        return False
    if query.errors and span.status.code != Status.STATUS_CODE_ERROR:
        return False
    if query.shortest is not None and span_duration(span) < query.shortest:
        return False
    return query.longest is None or span_duration(span) <= query.longest


def summary(trace: TracesData) -> Summary:
    """The one-line summary of a trace that has at least one span.

    Raises:
        ValueError: It has none.
    """
    spans = [
        (span, service_name(group.resource))
        for group in trace.resource_spans
        for scoped in group.scope_spans
        for span in scoped.spans
    ]
    if not spans:
        raise ValueError("a trace without spans has no summary")
    present = {span.span_id for span, _ in spans}
    # An earlier start is better; a true root beats an orphan, an orphan any other: in a cycle nobody is a root.
    root, root_service = min(
        spans,
        key=lambda each: (
            bool(each[0].parent_span_id),
            each[0].parent_span_id in present,
            each[0].start_time_unix_nano,
        ),
    )
    counts = Counter(service for _, service in spans)
    errors = Counter(service for span, service in spans if span.status.code == Status.STATUS_CODE_ERROR)
    # A span that has no time of its own must not stretch those that have.
    timed = [span for span, _ in spans if is_time(span.start_time_unix_nano)] or [span for span, _ in spans]
    start = min(span.start_time_unix_nano for span in timed)
    return Summary(
        trace_id=root.trace_id,
        root_service=root_service,
        root_operation=root.name,
        root_kind=kind_name(root),
        start=start,
        end=max(span.start_time_unix_nano + span_duration(span) for span in timed),
        spans=len(spans),
        errors=errors.total(),
        orphans=sum(bool(span.parent_span_id) and span.parent_span_id not in present for span, _ in spans),
        services=tuple(
            ServiceCount(name, count, errors[name])
            for name, count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
        ),
    )
