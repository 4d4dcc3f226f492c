"""Spans, traces and requests as an exporter would send them, in a few words."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

__all__ = [
    "HOUR",
    "MILLISECOND",
    "MINUTE",
    "NOON",
    "SECOND",
    "any_value",
    "attributes",
    "event",
    "link",
    "merged",
    "request",
    "span",
    "span_id",
    "spans_of",
    "trace_id",
    "traces",
]

MILLISECOND = 10**6
SECOND = 10**9
MINUTE = 60 * SECOND
HOUR = 3600 * SECOND
NOON = 1_795_348_800 * SECOND
"""2026-11-22T12:00:00Z, Unix time in nanoseconds."""

_ids = itertools.count(1)


def trace_id(number: int) -> bytes:
    """The trace id with that number."""
    return number.to_bytes(16, "big")


def span_id(number: int) -> bytes:
    """The span id with that number; none for 0."""
    return number.to_bytes(8, "big") if number else b""


def any_value(value: Any) -> AnyValue:
    """A plain value as OTLP has it."""
    if value is None:
        return AnyValue()
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, Mapping):
        return AnyValue(kvlist_value=KeyValueList(values=attributes(value)))
    assert isinstance(value, Sequence), value
    return AnyValue(array_value=ArrayValue(values=map(any_value, value)))


def attributes(values: Mapping[str, Any]) -> list[KeyValue]:
    """A dict as OTLP attributes."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in values.items()]


def event(name: str, values: Mapping[str, Any] | None = None, *, time: int = NOON) -> Span.Event:
    """An event of a span."""
    return Span.Event(time_unix_nano=time, name=name, attributes=attributes(values or {}))


def link(trace: int, id: int, values: Mapping[str, Any] | None = None) -> Span.Link:
    """A link to another span."""
    return Span.Link(trace_id=trace_id(trace), span_id=span_id(id), attributes=attributes(values or {}))


def span(
    name: str = "work",
    *,
    trace: int = 1,
    id: int | None = None,
    parent: int = 0,
    start: int = NOON,
    duration: int = 10 * MILLISECOND,
    kind: int = Span.SPAN_KIND_INTERNAL,
    error: str | bool = False,
    tags: Mapping[str, Any] | None = None,
    events: Iterable[Span.Event] = (),
    links: Iterable[Span.Link] = (),
    **fields: Any,
) -> Span:
    """A span.

    Args:
        name: its name.
        trace: its trace's number, see :func:`trace_id`.
        id: its own, see :func:`span_id`; by default one that no other span of this process has.
        parent: its parent's; 0: none.
        start: Unix time in nanoseconds.
        duration: in nanoseconds.
        kind: as OTLP numbers it.
        error: whether its status is an error, and what the status says.
        tags: its attributes.
        events: its events.
        links: its links.
        fields: any other field of the message, or one of the above as it shall be.
    """
    status = Status(code=Status.STATUS_CODE_ERROR, message=error if isinstance(error, str) else "") if error else None
    given: dict[str, Any] = {
        "trace_id": trace_id(trace),
        "span_id": span_id(next(_ids) + (1 << 32) if id is None else id),
        "parent_span_id": span_id(parent),
        "name": name,
        "kind": kind,
        "start_time_unix_nano": start,
        "end_time_unix_nano": start + duration,
        "attributes": attributes(tags or {}),
        "events": list(events),
        "links": list(links),
        "status": status,
    }
    return Span(**{**given, **fields})


def traces(
    *spans: Span,
    service: str | None = "shop",
    resource: Mapping[str, Any] | None = None,
    scope: str = "tests",
    version: str = "1",
    **fields: Any,
) -> TracesData:
    """What a service sends of ``spans``.

    Args:
        spans: of any traces.
        service: its name; None: the resource has none.
        resource: further attributes of its resource.
        scope: the name of the instrumentation.
        version: the instrumentation's version.
        fields: of ``ResourceSpans``.
    """
    named = {} if service is None else {"service.name": service}
    group = ResourceSpans(
        resource=Resource(attributes=attributes({**named, **(resource or {})})),
        scope_spans=[ScopeSpans(scope=InstrumentationScope(name=scope, version=version), spans=spans)],
        **fields,
    )
    return TracesData(resource_spans=[group])


def merged(*messages: TracesData) -> TracesData:
    """All of them in one message."""
    return TracesData(resource_spans=[group for message in messages for group in message.resource_spans])


def request(*messages: TracesData) -> bytes:
    """The body of an OTLP/HTTP request with all of them."""
    body: bytes = ExportTraceServiceRequest(resource_spans=merged(*messages).resource_spans).SerializeToString()
    return body


def spans_of(message: TracesData) -> Iterator[Span]:
    """Every span in a message."""
    for group in message.resource_spans:
        for scoped in group.scope_spans:
            yield from scoped.spans
