"""Traces for tests, in a line for each span."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

from causal_otel.collector.attributes import KINDS

MS = 1_000_000
BEGIN = 1_700_000_000_000 * MS
TRACE_ID = "a1" * 16


def span_id(name: str) -> str:
    """The id of the span that tests call ``name``, in hexadecimal."""
    return name.encode().ljust(8, b"-").hex()


def span(
    name: str,
    parent: str = "",
    start: float = 0,
    end: float = 10,
    *,
    operation: str = "",
    service: str = "api",
    kind: str = "internal",
    error: bool = False,
    message: str = "",
    trace_id: str = TRACE_ID,
    links: list[Span.Link] | None = None,
    events: list[Span.Event] | None = None,
    attributes: dict[str, Any] | None = None,
    resource: dict[str, Any] | None = None,
) -> ResourceSpans:
    """A span, called ``name``, with its resource; times in milliseconds after :data:`BEGIN`."""
    found = Span(
        trace_id=bytes.fromhex(trace_id),
        span_id=bytes.fromhex(span_id(name)),
        parent_span_id=bytes.fromhex(span_id(parent)) if parent else b"",
        name=operation or name,
        start_time_unix_nano=BEGIN + round(start * MS),
        end_time_unix_nano=BEGIN + round(end * MS),
        status=Status(code=Status.STATUS_CODE_ERROR if error else Status.STATUS_CODE_UNSET, message=message),
        links=links,
        events=events,
        attributes=pairs(attributes or {}),
    )
    found.kind = Span.SpanKind.ValueType(KINDS.index(kind))
    return ResourceSpans(
        resource=Resource(attributes=pairs({"service.name": service, **(resource or {})})),
        scope_spans=[ScopeSpans(scope=InstrumentationScope(name="tests"), spans=[found])],
    )


def trace(*spans: ResourceSpans) -> TracesData:
    """A trace of these spans."""
    return TracesData(resource_spans=spans)


def pairs(values: dict[str, Any]) -> list[KeyValue]:
    """Attributes as OTLP has them: strings, booleans and numbers."""
    return [KeyValue(key=key, value=_value(value)) for key, value in values.items()]


def _value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(double_value=value) if isinstance(value, float) else AnyValue(string_value=value)


_IDS = st.sampled_from("abcdef")
_TIMES = st.integers(0, 12)
SPANS = st.builds(
    span,
    _IDS,
    st.just("") | st.sampled_from("abcdefgh"),
    _TIMES,
    _TIMES,
    service=st.sampled_from(["api", "worker"]),
    kind=st.sampled_from(["client", "server", "internal"]),
    error=st.booleans(),
    links=st.just([]) | st.just([Span.Link(attributes=pairs({"causal.link": "detached"}))]),
)
TRACES = st.lists(SPANS, min_size=1, max_size=12).map(lambda spans: trace(*spans))
"""Traces of any shape: parents that are missing or go in a circle, ids that are there twice, odd times."""
