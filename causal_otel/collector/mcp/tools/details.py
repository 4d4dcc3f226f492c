"""``span_details``: what was recorded of one span."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pydantic import Field

from causal_otel.collector.analysis import where_time_went
from causal_otel.collector.attributes import plain_dict, text
from causal_otel.collector.mcp.answers import MOST_BYTES, Refused, milliseconds, name, size, utc, write
from causal_otel.collector.mcp.arguments import Arguments, trace_id
from causal_otel.collector.mcp.sources import trace_of
from causal_otel.collector.mcp.tools.outline import span_of
from causal_otel.collector.mcp.tools.tool import Tool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from causal_otel.collector.analysis import SpanView
    from causal_otel.collector.mcp.sources import Traces

__all__ = ["DETAILS"]

_ROOM, _ROOM_OF_AN_EVENT, _ROOM_OF_A_LINK, _ROOM_OF_THE_RESOURCE = 3000, 1500, 300, 1000
"""Bytes for the attributes of each."""

_MOST_EVENTS, _MOST_LINKS, _MOST_WARNINGS = 3, 5, 3
_LONGEST, _LONGEST_STACK = 200, 600


class _Details(Arguments):
    trace_id: str = Field(description="the trace's id")
    span_id: str = Field(description="the span's id, 16 hexadecimal digits")
    attribute: str = Field("", description="only this attribute (of the span, its events or its resource), uncut")
    offset: int = Field(0, ge=0, description="with attribute: from which character on")


def _answer(traces: Traces, wanted: _Details) -> str:
    view = trace_of(traces, trace_id("trace_id", wanted.trace_id))
    span = span_of(view, "span_id", wanted.span_id)
    head = {"trace_id": view.trace_id, "span_id": span.span_id}
    if wanted.attribute:
        return _value(span, wanted, head)
    message = span.message
    document: dict[str, Any] = {
        **head,
        "parent_id": span.parent_id,
        "service": name(span.service),
        "name": name(span.name),
        "kind": span.kind,
        "status": span.status,
        "status_message": _cut("", span.status_message),
        "start": utc(span.start),
        "at_ms": milliseconds(span.start - view.start),
        "ms": milliseconds(span.duration),
        "own_ms": milliseconds(span.self_time),
        "where_the_time_went_ms": {part.label: milliseconds(part.duration) for part in where_time_went(span)},
        "children": len(span.children),
        "attributes": _shown(span.attributes, _ROOM),
        "events": _events(span),
        "links": _links(span),
        "resource": _shown(span.resource, _ROOM_OF_THE_RESOURCE),
        "instrumentation": name(f"{span.scope.name} {span.scope.version}".strip()),
        "warnings": [name(each) for each in span.warnings[:_MOST_WARNINGS]],
        "dropped_by_the_sender": {
            what: count
            for what, count in (
                ("attributes", message.dropped_attributes_count),
                ("events", message.dropped_events_count),
                ("links", message.dropped_links_count),
            )
            if count
        },
    }
    return write({key: value for key, value in document.items() if value not in ("", [], {})})


def _shown(values: Mapping[str, Any], room: int) -> dict[str, Any]:
    """Attributes, each cut, as many as fit into ``room`` bytes."""
    shown: dict[str, Any] = {}
    for number, (key, value) in enumerate(sorted(values.items())):
        is_number = isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value))
        cut = value if is_number else _cut(key, text(value))
        room -= size({name(key): cut})
        if room < 0:
            shown["…"] = f"{len(values) - number} more: give the name of one as attribute"
            break
        shown[name(key)] = cut
    return shown


def _cut(key: str, value: str) -> str:
    """A value that is long without its middle; of a stack its end tells most."""
    if key.endswith("stacktrace"):
        return value if len(value) <= _LONGEST_STACK else f"({len(value)} characters) …{value[-_LONGEST_STACK:]}"
    return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}… ({len(value)} characters)"


def _events(span: SpanView) -> list[dict[str, Any]]:
    """The last ones: an exception is among them."""
    shown: list[dict[str, Any]] = [
        {
            "name": name(event.name),
            "at_ms": milliseconds(event.time - span.start),
            "attributes": _shown(event.attributes, _ROOM_OF_AN_EVENT),
        }
        for event in span.events[-_MOST_EVENTS:]
    ]
    if more := len(span.events) - len(shown):
        shown.insert(0, {"left_out": more})
    return shown


def _links(span: SpanView) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = [
        {
            "trace_id": link.trace_id,
            "span_id": link.span_id,
            "attributes": _shown(link.attributes, _ROOM_OF_A_LINK),
        }
        for link in span.links[:_MOST_LINKS]
    ]
    if more := len(span.links) - len(shown):
        shown.append({"left_out": more})
    return shown


def _value(span: SpanView, wanted: _Details, head: dict[str, Any]) -> str:
    places = (
        span.attributes,
        *(event.attributes for event in reversed(span.events)),
        span.resource,
        plain_dict(span.scope.attributes),
    )
    for values in places:
        if wanted.attribute in values:
            value = text(values[wanted.attribute])
            break
    else:
        raise Refused(
            f"attribute: the span has no {wanted.attribute[:80]!r}: without attribute, span_details shows what it has"
        )
    rest = value[wanted.offset : wanted.offset + MOST_BYTES]
    document = {**head, "attribute": name(wanted.attribute), "characters": len(value), "value": rest}
    while len(write(document).encode()) > MOST_BYTES - 100:
        rest = rest[: len(rest) * 7 // 8]
        document["value"] = rest
    if left := max(0, len(value) - wanted.offset - len(rest)):
        document |= {"left_out": left, "next_offset": wanted.offset + len(rest)}
    return write(document)


DETAILS = Tool(
    "span_details",
    "Show a span",
    "Show one span: status, times, where its time went (pool wait, connect, server, fetch ...), attributes, the last "
    f"events with exceptions, links, resource. Some 1,000, at most {MOST_BYTES:,} bytes: values are cut after "
    f"{_LONGEST} characters; attribute gives one of them in full, with offset=next_offset its next part.",
    _Details,
    _answer,
)
"""The tool."""
