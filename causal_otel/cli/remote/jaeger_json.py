"""Traces in the form of Jaeger's own pages, as OTLP has them.

The form comes from elsewhere: what is not as it should be is left out.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

from causal_otel.collector.attributes import KINDS, text
from causal_otel.names import (
    OTEL_SCOPE_NAME,
    OTEL_SCOPE_VERSION,
    OTEL_STATUS_CODE,
    OTEL_STATUS_DESCRIPTION,
    SERVICE_NAME,
    SPAN_KIND,
    W3C_TRACESTATE,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["traces", "without_jaegers_links"]

_REFERENCE = "opentracing.ref_type"
_OLDER_SCOPE = ("otel.library.name", "otel.library.version")
_STATUSES = {"OK": Status.STATUS_CODE_OK, "ERROR": Status.STATUS_CODE_ERROR}
_FIELDS = frozenset(
    {
        *(OTEL_SCOPE_NAME, OTEL_SCOPE_VERSION, OTEL_STATUS_CODE, OTEL_STATUS_DESCRIPTION, SPAN_KIND, W3C_TRACESTATE),
        *_OLDER_SCOPE,
        "error",
        "internal.span.format",
    }
)
"""The tags that are fields of a span in OTLP."""


def traces(data: Iterable[Any]) -> dict[bytes, TracesData]:
    """The traces of an answer, by their ids."""
    found: dict[bytes, TracesData] = {}
    for document in data:
        if not isinstance(document, dict):
            continue
        processes = {key: _resource(each) for key, each in _dict(document.get("processes")).items()}
        for each in _list(document.get("spans")):
            span = _span(each)
            if span is not None:
                scope = _scope(_tags(each.get("tags")))
                resource = processes.get(str(each.get("processID"))) or Resource()
                group = ResourceSpans(resource=resource, scope_spans=[ScopeSpans(scope=scope, spans=[span])])
                found.setdefault(span.trace_id, TracesData()).resource_spans.append(group)
    return found


def without_jaegers_links(trace: TracesData) -> TracesData:
    """The trace without what Jaeger says of each link, but for links to a span's parent.

    It calls all of them ``follows_from``, which said of the parent means that nobody waited for the span, and of others
    nothing.
    """
    for group in trace.resource_spans:
        for scoped in group.scope_spans:
            for span in scoped.spans:
                for link in span.links:
                    if link.span_id != span.parent_span_id:
                        kept = [pair for pair in link.attributes if pair.key != _REFERENCE]
                        del link.attributes[:]
                        link.attributes.extend(kept)
    return trace


def _span(document: Any) -> Span | None:
    if not isinstance(document, dict):
        return None
    trace_id, span_id = _id(document.get("traceID"), 16), _id(document.get("spanID"), 8)
    if trace_id is None or span_id is None:
        return None
    tags = _tags(document.get("tags"))
    told = {pair.key: text(getattr(pair.value, pair.value.WhichOneof("value") or "string_value")) for pair in tags}
    start = _integer(document.get("startTime")) * 1000
    span = Span(
        trace_id=trace_id,
        span_id=span_id,
        name=str(document.get("operationName", "")),
        trace_state=told.get(W3C_TRACESTATE, ""),
        start_time_unix_nano=start,
        end_time_unix_nano=start + _integer(document.get("duration")) * 1000,
        attributes=[pair for pair in tags if pair.key not in _FIELDS],
        status=Status(code=_status(told), message=told.get(OTEL_STATUS_DESCRIPTION, "")),
    )
    kind = told.get(SPAN_KIND, "")
    if kind in KINDS:
        span.kind = Span.SpanKind.ValueType(KINDS.index(kind))
    _refer(span, document)
    for log in _list(document.get("logs")):
        if isinstance(log, dict):
            fields = _tags(log.get("fields"))
            name = next((pair.value.string_value for pair in fields if pair.key == "event"), "")
            attributes = [pair for pair in fields if pair.key != "event"]
            span.events.add(
                time_unix_nano=_integer(log.get("timestamp")) * 1000, name=name or "log", attributes=attributes
            )
    return span


def _refer(span: Span, document: dict[str, Any]) -> None:
    """Its parent, which is the first that it refers to in its own trace, and its links."""
    for reference in _list(document.get("references")):
        if not isinstance(reference, dict):
            continue
        trace_id, span_id = _id(reference.get("traceID"), 16), _id(reference.get("spanID"), 8)
        if trace_id is None or span_id is None:
            continue
        follows = reference.get("refType") == "FOLLOWS_FROM"
        if not span.parent_span_id and trace_id == span.trace_id and not (follows and _has_parent(document, span)):
            span.parent_span_id = span_id
        if follows:
            attributes = [_pair(_REFERENCE, "string", "follows_from")] if span_id == span.parent_span_id else []
            span.links.add(trace_id=trace_id, span_id=span_id, attributes=attributes)
    if not span.parent_span_id and (parent := _id(document.get("parentSpanID"), 8)) is not None:
        span.parent_span_id = parent


def _has_parent(document: dict[str, Any], span: Span) -> bool:
    """Whether it says of another span that it is its child."""
    return any(
        isinstance(each, dict) and each.get("refType") == "CHILD_OF" and _id(each.get("traceID"), 16) == span.trace_id
        for each in _list(document.get("references"))
    )


def _resource(document: Any) -> Resource:
    process = _dict(document)
    name = _pair(SERVICE_NAME, "string", process.get("serviceName", ""))
    return Resource(attributes=[name, *_tags(process.get("tags"))])


def _scope(tags: list[KeyValue]) -> InstrumentationScope:
    told = {pair.key: pair.value.string_value for pair in tags}
    return InstrumentationScope(
        name=told.get(OTEL_SCOPE_NAME) or told.get(_OLDER_SCOPE[0], ""),
        version=told.get(OTEL_SCOPE_VERSION) or told.get(_OLDER_SCOPE[1], ""),
    )


def _status(told: dict[str, str]) -> Status.StatusCode.ValueType:
    if told.get("error") == "true":
        return Status.STATUS_CODE_ERROR
    return _STATUSES.get(told.get(OTEL_STATUS_CODE, ""), Status.STATUS_CODE_UNSET)


def _tags(document: Any) -> list[KeyValue]:
    return [
        _pair(str(each["key"]), each.get("type"), each.get("value"))
        for each in _list(document)
        if isinstance(each, dict) and "key" in each
    ]


def _pair(key: str, kind: Any, value: Any) -> KeyValue:
    return KeyValue(key=key, value=_value(kind, value))


def _value(kind: Any, value: Any) -> AnyValue:
    try:
        if kind == "bool":
            return AnyValue(bool_value=value is True or value == "true")
        if kind == "int64":
            return AnyValue(int_value=int(value))
        if kind == "float64":
            return AnyValue(double_value=float(value))
        if kind == "binary" and isinstance(value, str):
            return AnyValue(bytes_value=base64.b64decode(value, validate=True))
    except (ValueError, TypeError):  # of another type, too large, or no Base64
        pass
    return AnyValue(string_value=value if isinstance(value, str) else text(value))


def _id(value: Any, length: int) -> bytes | None:
    """An id of so many bytes from hexadecimal digits, whose leading zeros may be missing; None: there is none."""
    if not isinstance(value, str) or not 0 < len(value) <= 2 * length:
        return None
    try:
        found = binascii.unhexlify(value.rjust(2 * length, "0"))
    except ValueError:
        return None
    return found if any(found) else None


def _integer(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 53 else 0


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
