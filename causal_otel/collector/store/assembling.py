"""A trace put together from its chunks, which may say the same thing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

__all__ = ["assembled", "assembled_logs"]


def assembled(parts: Sequence[TracesData]) -> TracesData:
    """All spans of ``parts``, each once, with one group for each resource and scope.

    A span is the same as another if everything about it is; one that differs in anything is kept.
    """
    ids = [span.span_id for part in parts for span in _spans(part)]
    repeated = len(set(ids)) < len(ids)
    if len(parts) == 1 and not repeated:
        return parts[0]
    whole = TracesData()
    groups: dict[tuple[bytes, str], ResourceSpans] = {}
    scopes: dict[tuple[int, bytes, str], ScopeSpans] = {}
    seen: set[bytes] = set()
    for part in parts:
        for group in part.resource_spans:
            key = group.resource.SerializeToString(deterministic=True), group.schema_url
            target = groups.get(key)
            if target is None:
                target = groups[key] = whole.resource_spans.add(resource=group.resource, schema_url=group.schema_url)
            for scoped in group.scope_spans:
                inner = id(target), scoped.scope.SerializeToString(deterministic=True), scoped.schema_url
                into = scopes.get(inner)
                if into is None:
                    into = scopes[inner] = target.scope_spans.add(scope=scoped.scope, schema_url=scoped.schema_url)
                into.spans.extend(_new(scoped.spans, seen) if repeated else scoped.spans)
    return whole


def assembled_logs(parts: Sequence[LogsData]) -> LogsData:
    """All log records of ``parts``, each once: what was sent again is the same in everything."""
    whole = LogsData()
    seen: set[bytes] = set()
    for part in parts:
        for group in part.resource_logs:
            resource = group.resource.SerializeToString(deterministic=True)
            target = whole.resource_logs.add(resource=group.resource, schema_url=group.schema_url)
            for scoped in group.scope_logs:
                origin = resource + scoped.scope.SerializeToString(deterministic=True)
                into = target.scope_logs.add(scope=scoped.scope, schema_url=scoped.schema_url)
                for record in scoped.log_records:
                    content = origin + record.SerializeToString(deterministic=True)
                    if content not in seen:
                        seen.add(content)
                        into.log_records.append(record)
    return whole


def _new(spans: Sequence[Span], seen: set[bytes]) -> Iterator[Span]:
    for span in spans:
        content = span.SerializeToString(deterministic=True)
        if content not in seen:
            seen.add(content)
            yield span


def _spans(trace: TracesData) -> Iterator[Span]:
    for group in trace.resource_spans:
        for scoped in group.scope_spans:
            yield from scoped.spans
