"""OTLP's messages with fewer fields: what the writer does not need to know stays serialized.

Attributes are the larger part of a span, and most of them occur again and again. Here they are fields of type
``bytes``, which look the same on the wire. So parsing a span parses no attribute, and the bytes of one are the key of a
cache.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

__all__ = ["RawRequest", "RawScopeSpans", "SlimSpan"]

_Field = descriptor_pb2.FieldDescriptorProto
_ONE, _MANY = _Field.LABEL_OPTIONAL, _Field.LABEL_REPEATED
_PACKAGE = "causal_otel.collector.store"

# Numbers and wire types as in opentelemetry/proto/trace/v1/trace.proto.
_MESSAGES: dict[str, tuple[tuple[str, int, Any, Any], ...]] = {
    "RawScopeSpans": (("spans", 2, _MANY, _Field.TYPE_BYTES),),
    "RawResourceSpans": (("scope_spans", 2, _MANY, "RawScopeSpans"),),
    "RawRequest": (("resource_spans", 1, _MANY, "RawResourceSpans"),),
    "SlimSpan": (
        ("trace_id", 1, _ONE, _Field.TYPE_BYTES),
        ("span_id", 2, _ONE, _Field.TYPE_BYTES),
        ("trace_state", 3, _ONE, _Field.TYPE_STRING),
        ("parent_span_id", 4, _ONE, _Field.TYPE_BYTES),
        ("name", 5, _ONE, _Field.TYPE_STRING),
        ("kind", 6, _ONE, _Field.TYPE_INT32),
        ("start", 7, _ONE, _Field.TYPE_FIXED64),
        ("end", 8, _ONE, _Field.TYPE_FIXED64),
        ("attributes", 9, _MANY, _Field.TYPE_BYTES),
        ("events", 11, _MANY, _Field.TYPE_BYTES),
        ("links", 13, _MANY, _Field.TYPE_BYTES),
        ("status", 15, _ONE, _Field.TYPE_BYTES),
    ),
}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="causal_otel/collector/slim.proto", package=_PACKAGE)
    file.syntax = "proto3"
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, label, kind in fields:
            if isinstance(kind, str):
                reference = f".{_PACKAGE}.{kind}"
                message.field.add(name=field, number=number, label=label, type=_Field.TYPE_MESSAGE, type_name=reference)
            else:
                message.field.add(name=field, number=number, label=label, type=kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


_made = _classes()

RawRequest: Any = _made["RawRequest"]
"""An ``ExportTraceServiceRequest`` with each span as its bytes."""

RawScopeSpans: Any = _made["RawScopeSpans"]
"""A ``ScopeSpans`` with nothing but the bytes of its spans."""

SlimSpan: Any = _made["SlimSpan"]
"""A ``Span`` with attributes, events, links and status as their bytes, and without what the writer does not need."""
