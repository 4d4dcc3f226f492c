"""A trace as Jaeger's own pages and Grafana read it from the older API.

Times and durations are microseconds. What OTLP has and this form has not (attributes of links and scopes, dropped
counts) is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.collector.attributes import plain, scope_tags, service_name, span_tags, text
from causal_otel.collector.matching import span_duration
from causal_otel.names import SERVICE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

__all__ = ["short_id", "ui_trace"]

_SAFE_INTEGER = 2**53 - 1  # JavaScript's; what is beyond is written as a string


def short_id(trace_id: bytes) -> str:
    """A trace id in hexadecimal, without its first half if that is all zero."""
    return trace_id.hex().removeprefix("0" * 16) if len(trace_id) == 16 else trace_id.hex()


def ui_trace(trace: TracesData, *, notes: bool = True, adjusted: bool = True) -> dict[str, Any]:
    """A trace that has at least one span, as a JSON document.

    Args:
        trace: all spans have the same trace id.
        notes: whether spans that do not end after their start get a warning.
        adjusted: whether tags and logs are sorted, and spans whose parent is not there get a warning.
    """
    present = {span.span_id for group in trace.resource_spans for scoped in group.scope_spans for span in scoped.spans}
    spans: list[dict[str, Any]] = []
    names: dict[bytes, str] = {}
    processes: dict[str, dict[str, Any]] = {}
    for group in trace.resource_spans:
        name = names.setdefault(group.resource.SerializeToString(deterministic=True), f"p{len(names) + 1}")
        if name not in processes:
            processes[name] = _process(group.resource, adjusted)
        for scoped in group.scope_spans:
            for span in scoped.spans:
                document = _span(span, scoped.scope, adjusted)
                document["processID"] = name
                document["warnings"] = [
                    *(_duration_notes(span) if notes else ()),
                    *(_parent_notes(span, present) if adjusted else ()),
                ] or None
                spans.append(document)
    return {"traceID": spans[0]["traceID"], "spans": spans, "processes": processes, "warnings": None}


def _process(resource: Resource, ordered: bool) -> dict[str, Any]:
    tags = [_pair(pair) for pair in resource.attributes if pair.key != SERVICE_NAME]
    return {"serviceName": service_name(resource), "tags": _ordered(tags, ordered)}


def _span(span: Span, scope: InstrumentationScope, ordered: bool) -> dict[str, Any]:
    logs = [
        {"timestamp": event.time_unix_nano // 1000, "fields": _ordered(_fields(event), ordered)}
        for event in span.events
    ]
    if ordered:
        logs.sort(key=lambda log: log["timestamp"])
    return {
        "traceID": short_id(span.trace_id),
        "spanID": span.span_id.hex(),
        "operationName": span.name,
        "references": list(_references(span)),
        "startTime": span.start_time_unix_nano // 1000,
        "duration": span_duration(span) // 1000,
        "tags": _ordered(list(_tags(span, scope)), ordered),
        "logs": logs,
    }


def _references(span: Span) -> Iterator[dict[str, str]]:
    """The parent first. A link to the parent says how the two belong together better than "child of" does."""
    links = {(link.trace_id, link.span_id): None for link in span.links}
    parent = (span.trace_id, span.parent_span_id)
    if span.parent_span_id:
        yield _reference("FOLLOWS_FROM" if parent in links else "CHILD_OF", *parent)
    for link in links:
        if link != parent:
            yield _reference("FOLLOWS_FROM", *link)


def _reference(kind: str, trace_id: bytes, span_id: bytes) -> dict[str, str]:
    return {"refType": kind, "traceID": short_id(trace_id), "spanID": span_id.hex()}


def _tags(span: Span, scope: InstrumentationScope) -> Iterator[dict[str, Any]]:
    for key, value in scope_tags(scope):
        yield _tag(key, value)
    for pair in span.attributes:
        yield _pair(pair)
    for key, found in span_tags(span):
        yield _tag(key, found, "bool" if isinstance(found, bool) else "string")


def _fields(event: Span.Event) -> list[dict[str, Any]]:
    name = [_tag("event", event.name)] if event.name else []
    return name + [_pair(pair) for pair in event.attributes]


def _pair(pair: KeyValue) -> dict[str, Any]:
    kind, value = _typed(pair.value)
    return _tag(pair.key, value, kind)


def _typed(value: AnyValue) -> tuple[str, Any]:
    """Jaeger's name of the value's type, and the value; lists and maps are strings of JSON."""
    kind = value.WhichOneof("value")
    if kind == "bool_value":
        return "bool", value.bool_value
    if kind == "int_value":
        number = value.int_value
        return "int64", number if abs(number) <= _SAFE_INTEGER else str(number)
    if kind == "double_value":
        double = value.double_value
        finite = double - double == 0  # JSON has no word for the others
        return "float64", double if finite else text(double)
    return "binary" if kind == "bytes_value" else "string", text(plain(value))


def _tag(key: str, value: Any, kind: str = "string") -> dict[str, Any]:
    return {"key": key, "type": kind, "value": value}


def _ordered(tags: list[dict[str, Any]], ordered: bool) -> list[dict[str, Any]]:
    return sorted(tags, key=lambda tag: str(tag["key"])) if ordered else tags


def _duration_notes(span: Span) -> Iterable[str]:
    if span.end_time_unix_nano <= span.start_time_unix_nano:
        before = span.start_time_unix_nano - span.end_time_unix_nano
        yield f"the span ends {before} ns before it starts" if before else "the span ends when it starts"


def _parent_notes(span: Span, present: set[bytes]) -> Iterable[str]:
    if span.parent_span_id and span.parent_span_id not in present:
        yield f"the parent span {span.parent_span_id.hex()} is not in this trace"
