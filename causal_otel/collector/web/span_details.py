"""A span's details as the page shows them: everything that was received, as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from causal_otel.collector.attributes import plain_dict, text
from causal_otel.collector.units import format_duration
from causal_otel.collector.web.waterfall import Part, parts
from causal_otel.names import CAUSAL_LINK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from causal_otel.collector.analysis import SpanView, TraceView

__all__ = ["LONG", "LONGEST", "Event", "Relation", "SpanDetails", "span_details"]

LONG = 300
"""Characters beyond which a value is folded."""

LONGEST = 200_000
"""Characters of a value that the page shows; the JSON has all."""

_Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in the span, ``offset`` after its start."""

    name: str
    offset: str
    attributes: _Pairs


@dataclass(frozen=True, slots=True)
class Relation:
    """A link from or to another span. ``name`` is empty if that is not in this trace, where ``here`` is False."""

    says: str
    trace_id: str
    span_id: str
    href: str
    here: bool
    name: str
    attributes: _Pairs


@dataclass(frozen=True, slots=True)
class SpanDetails:
    """What the page shows of ``span`` when it is opened."""

    span: SpanView
    colour: int
    parent_here: bool
    offset: str
    notes: tuple[str, ...]
    parts: tuple[Part, ...]
    attributes: _Pairs
    events: tuple[Event, ...]
    links: tuple[Relation, ...]
    resource: _Pairs
    scope: _Pairs


def span_details(trace: TraceView, span: SpanView, colour: int) -> SpanDetails:
    """Put together what is shown of ``span``, one of ``trace``'s."""
    message = span.message
    notes = [warning[0].upper() + warning[1:] + "." for warning in span.warnings]
    lost = (
        (message.dropped_attributes_count, "attribute"),
        (message.dropped_events_count, "event"),
        (message.dropped_links_count, "link"),
    )
    notes += [f"The sender has dropped {number} {noun}{'' if number == 1 else 's'}." for number, noun in lost if number]
    attributes = _pairs(span.attributes)
    if message.trace_state:
        attributes += (("tracestate", message.trace_state),)
    scope: _Pairs = (("name", span.scope.name),) if span.scope.name else ()
    if span.scope.version:
        scope += (("version", span.scope.version),)
    return SpanDetails(
        span=span,
        colour=colour,
        parent_here=span.parent is not None and span.parent.span_id == span.parent_id,
        offset=format_duration(span.start - trace.start),
        notes=tuple(notes),
        parts=parts(span),
        attributes=attributes,
        events=tuple(
            Event(event.name, format_duration(event.time - span.start), _pairs(event.attributes))
            for event in span.events
        ),
        links=(*_links(trace, span), *_linked_from(trace, span)),
        resource=_pairs(span.resource),
        scope=scope + _pairs(plain_dict(span.scope.attributes)),
    )


def _pairs(values: Mapping[str, Any]) -> _Pairs:
    return tuple(sorted((key, text(value)) for key, value in values.items()))


def _links(trace: TraceView, span: SpanView) -> list[Relation]:
    found = []
    for link in span.links:
        other = trace.span(link.span_id) if link.trace_id == trace.trace_id else None
        detached = link.attributes.get(CAUSAL_LINK) == "detached"
        found.append(
            Relation(
                says="detached from" if detached else "links to",
                trace_id=link.trace_id,
                span_id=link.span_id,
                href=_address(link.trace_id, link.span_id),
                here=other is not None,
                name=_name(other),
                attributes=_pairs(link.attributes),
            )
        )
    return found


def _linked_from(trace: TraceView, span: SpanView) -> list[Relation]:
    """Links in this trace that name the span; of those in others nothing is known here."""
    wanted = span.message.trace_id, span.message.span_id
    return [
        Relation(
            says="started, without waiting for it," if other.detached else "linked from",
            trace_id=trace.trace_id,
            span_id=other.span_id,
            href=_address(trace.trace_id, other.span_id),
            here=True,
            name=_name(other),
            attributes=(),
        )
        for other in trace.spans
        if any((link.trace_id, link.span_id) == wanted for link in other.message.links)
    ]


def _address(trace_id: str, span_id: str) -> str:
    """The ids are hexadecimal, so there is nothing to escape."""
    return f"/trace/{trace_id}?span={span_id}#s-{span_id}"


def _name(span: SpanView | None) -> str:
    return f"{span.service} {span.name}" if span is not None else ""
