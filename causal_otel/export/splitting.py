"""A request that is too large for a back end, as two requests of half its spans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from causal_otel.export.encoder import Request

__all__ = ["halves"]


def halves(payload: bytes) -> tuple[Request, Request] | None:
    """Both halves of a request, in the order of its spans, with how many are in each.

    Args:
        payload: an encoded ``ExportTraceServiceRequest``.

    Returns:
        None where there is nothing to split: a single span, or no such message.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    try:
        message: Any = ExportTraceServiceRequest.FromString(payload)
    except DecodeError:
        return None
    spans = sum(len(scoped.spans) for group in message.resource_spans for scoped in group.scope_spans)
    if spans < 2:
        return None
    first, second = ExportTraceServiceRequest(), ExportTraceServiceRequest()
    left = spans // 2
    for group in message.resource_spans:
        groups: dict[int, Any] = {}  # the group anew, in each half that gets something of it
        for scoped in group.scope_spans:
            cut = min(left, len(scoped.spans))
            left -= cut
            for half, part in ((first, scoped.spans[:cut]), (second, scoped.spans[cut:])):
                if not part:
                    continue
                if id(half) not in groups:
                    groups[id(half)] = half.resource_spans.add(schema_url=group.schema_url)
                    groups[id(half)].resource.CopyFrom(group.resource)
                into = groups[id(half)].scope_spans.add(schema_url=scoped.schema_url)
                into.scope.CopyFrom(scoped.scope)
                into.spans.extend(part)
    return (first.SerializeToString(), spans // 2), (second.SerializeToString(), spans - spans // 2)
