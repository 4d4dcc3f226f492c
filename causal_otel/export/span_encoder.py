"""Ended spans to OTLP bytes, written by hand: no object is made for any message.

Decoded, they equal what the official ``opentelemetry-exporter-otlp-proto-common`` makes of the same spans. Where
that raises, and the whole batch is lost, ours loses the smallest part: an attribute, an event, at most the span.

Speed comes from doing things once. A span's ids and times go through one ``struct``; name, kind and flags are one
cached piece, and attributes come from a cache too (:mod:`causal_otel.export.attributes`). Protobuf leaves the order
of fields free, so pieces stand in the order that suits this.

Field numbers: ``opentelemetry/proto/trace/v1/trace.proto``. A tag byte is the field number times 8 plus the wire
type.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanContext

from causal_otel._internal import faults
from causal_otel.engine.current_span import CurrentSpan
from causal_otel.engine.span import LeafSpan, Span
from causal_otel.export.attributes import AttributeEncoder, field, optional, text, varint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.trace import ReadableSpan, SpanLimits
    from opentelemetry.trace import SpanKind, TraceState

    from causal_otel.engine.redaction import Redaction
    from causal_otel.engine.span_data import RawEvent

__all__ = ["OWN", "SpanEncoder"]

_NAMES = 1024
_NAME_LENGTH = 256
_LIMITS = 4

OWN = frozenset({Span, LeafSpan, CurrentSpan})
"""Whose fields are read directly. The ABC's isinstance() would cost more than all of a span's ids and times."""

# Ids are big-endian and times little-endian, so the ids go in as bytes. The numbers are tags: 0x100A is the bytes
# 0A 10, field 1 with sixteen bytes.
_root = struct.Struct("<H16sH8sBQBQ").pack
_child = struct.Struct("<H16sH8sBQBQH8s").pack
_link = struct.Struct("<H16sH8sBI").pack
_fixed64 = struct.Struct("<Q").pack

_FRAMED = 2048
_FRAMES = tuple([b"\x12" + varint(size) for size in range(_FRAMED)])
"""Tag and length of a span, by its length."""
_STATUS = b"\x7a\x00"  # unset
# SpanFlags: "it is known whether the parent is remote" and "it is". The W3C flags stay out, as in the official one.
_LOCAL, _REMOTE = 0x100, 0x300
_FLAGS = (b"\x85\x01" + struct.pack("<I", _LOCAL), b"\x85\x01" + struct.pack("<I", _REMOTE))


class _Limited:
    """The attribute encoders for spans under the same limits; without limits, for spans that the SDK has checked."""

    __slots__ = ("event", "limits", "link", "max_event", "max_link", "shown", "span")

    def __init__(self, limits: SpanLimits | None, redaction: Redaction | None, shown: Callable[[str], str]) -> None:
        raw = limits is not None
        self.limits = limits
        self.shown = shown
        self.max_event = None if limits is None else limits.max_event_attributes
        self.max_link = None if limits is None else limits.max_link_attributes
        length = None if limits is None else limits.max_attribute_length
        self.span = AttributeEncoder(
            b"\x4a",
            raw=raw,
            max_length=None if limits is None else limits.max_span_attribute_length,
            redaction=redaction,
        )
        self.event = AttributeEncoder(b"\x1a", raw=raw, max_length=length, redaction=redaction)
        self.link = AttributeEncoder(b"\x22", raw=raw, max_length=length, redaction=redaction)


class SpanEncoder:
    """Encodes spans: ours by their fields, any others by what ``ReadableSpan`` offers. For one thread.

    Both ways give the span as a field of ``ScopeSpans``, tag and length included, and raise where it has no encoding.

    Args:
        redaction: takes secrets out of all that is text; None: they stay.
    """

    def __init__(self, redaction: Redaction | None = None) -> None:
        self._redaction = redaction
        self._shown: Callable[[Any], Any] = _as_it_is if redaction is None else redaction.text
        self._limited = self._checked = _Limited(None, redaction, self._shown)
        self._known_limits: list[_Limited] = []
        self._names: dict[str, tuple[SpanKind, bytes, bytes]] = {}
        self._trace_id: tuple[int, bytes] = (0, b"")  # of the span before
        self._trace_state: tuple[TraceState | None, bytes] = (None, b"")

    def own_span(self, span: Span) -> bytes:
        """A span whose type is in :data:`OWN`.

        Raises:
            Exception: it has no encoding.
        """
        limits = span._tracer.core.span_limits
        if limits is not self._limited.limits:
            self._limit(limits)

        name, kind = span._name, span._kind
        try:
            known, plain_tail, detailed_tail = self._names[name]
        except (KeyError, TypeError):
            known, plain_tail, detailed_tail = self._name(name, kind)
        if known is not kind:
            _, plain_tail, detailed_tail = self._name(name, kind)
        local = span._local_trace
        clock, (number, trace_id) = local.clock, self._trace_id
        if local.trace_id is not number:
            self._trace_id = number, trace_id = local.trace_id, local.trace_id.to_bytes(16, "big")
        plain = local.trace_state is None and not span._detailed
        span_id = span._id or span.span_id()
        parent: Any = span._parent_span
        if type(parent) in OWN:
            span._parent_span = parent_id = parent._id or parent.span_id()  # which span.parent_id() would do
        else:
            parent_id = span.parent_id()
            plain = plain and not isinstance(parent, SpanContext)
        tail = plain_tail if plain else detailed_tail + self._rest(span)
        start, end = span._start + clock, span._end + clock
        if parent_id:
            head = _child(0x100A, trace_id, 0x0812, span_id, 0x39, start, 0x41, end, 0x0822, parent_id)
        else:
            head = _root(0x100A, trace_id, 0x0812, span_id, 0x39, start, 0x41, end)
        parts = [head, tail]
        attributes = span._attributes
        if attributes:
            if span._shared:
                parts.append(self._limited.span.shared(attributes))
            else:
                self._limited.span.extend(parts, attributes)
        body = b"".join(parts)
        size = len(body)
        return (_FRAMES[size] if size < _FRAMED else b"\x12" + varint(size)) + body

    def _rest(self, span: Span) -> bytes:
        """What :meth:`own_span` has not written by then: flags, status, and what a span seldom has."""
        limited = self._limited
        parent, state = span._parent_span, span._local_trace.trace_state
        remote = isinstance(parent, SpanContext) and parent.is_remote
        parts = [_FLAGS[remote], _status(span._status, self._shown(span._description))]
        if state is not None:
            parts.append(self._state(state))
        if span._events:
            parts += [_contained(_raw_event, event, limited) for event in span._events]
        if span._links:
            parts += [_contained(_raw_link, link, limited) for link in span._links]
        if span._dropped_attributes or span._dropped_events or span._dropped_links:
            parts.append(_dropped(span._dropped_attributes, span._dropped_events, span._dropped_links))
        return b"".join(parts)

    def other_span(self, span: ReadableSpan) -> bytes:
        """Anybody's span.

        Raises:
            Exception: it has no encoding.
        """
        context = span.get_span_context()
        if context is None:
            raise ValueError("a span without a context")
        parent = span.parent
        parts = [
            _root(
                0x100A,
                context.trace_id.to_bytes(16, "big"),
                0x0812,
                context.span_id.to_bytes(8, "big"),
                0x39,
                span.start_time or 0,
                0x41,
                span.end_time or 0,
            ),
            b"" if parent is None else b"\x22\x08" + parent.span_id.to_bytes(8, "big"),
            self._name(span.name, span.kind)[2],
            _FLAGS[parent is not None and parent.is_remote],
            self._checked.span.encode(_plain(span.attributes))[0],
            self._state(context.trace_state),
        ]
        status = span.status
        if status is not None:
            parts.append(_status(status.status_code.value, self._shown(status.description)))
        parts += [_contained(_event, event, self._checked) for event in span.events or ()]
        parts += [_contained(_checked_link, link, self._checked) for link in span.links or ()]
        parts.append(_dropped(span.dropped_attributes, span.dropped_events, span.dropped_links))
        return field(b"\x12", b"".join(parts))

    def _limit(self, limits: SpanLimits) -> None:
        """Go on under other limits; a process has one provider, or few."""
        found = next((each for each in self._known_limits if each.limits is limits), None)
        if found is None:
            del self._known_limits[:-_LIMITS]
            found = _Limited(limits, self._redaction, self._shown)
            self._known_limits.append(found)
        self._limited = found

    def _name(self, name: str, kind: SpanKind) -> tuple[SpanKind, bytes, bytes]:
        """The kind; name and kind encoded, with the flags and status of a plain span; and the same without those.

        Cached by name, with the kind that came last: a key of both would hash an Enum, which is a Python call.
        """
        # OTLP counts the kinds from 1, for its 0 is "unspecified".
        shown = self._shown(name)
        encoded = field(b"\x2a", text(shown)) + b"\x30" + varint(kind.value + 1)
        found = kind, encoded + _FLAGS[False] + _STATUS, encoded
        if type(name) is str and len(name) <= _NAME_LENGTH and shown is name:
            if len(self._names) >= _NAMES:
                self._names.clear()
            self._names[name] = found
        return found

    def _state(self, state: TraceState | None) -> bytes:
        """The trace state; all of a trace in a process share one object, so the last one is remembered."""
        last, encoded = self._trace_state
        if state is not last:
            joined = ",".join([f"{key}={value}" for key, value in state.items()]) if state else ""
            encoded = field(b"\x1a", text(self._shown(joined))) if joined else b""
            self._trace_state = state, encoded
        return encoded


def _as_it_is(text: Any) -> Any:
    return text


def _status(code: int, description: str | None) -> bytes:
    return field(b"\x7a", optional(b"\x12", description) + (b"\x18" + varint(code) if code else b""))


def _dropped(attributes: int, events: int, links: int) -> bytes:
    counts = ((b"\x50", attributes), (b"\x60", events), (b"\x70", links))
    return b"".join([tag + varint(count) for tag, count in counts if count])


def _contained(encode: Callable[[Any, _Limited], bytes], item: Any, limited: _Limited) -> bytes:
    """An event or a link; one without an encoding must not cost the span."""
    try:
        return encode(item, limited)
    except Exception:
        faults.report("export: event or link")
        return b""


def _raw_event(event: RawEvent, limited: _Limited) -> bytes:
    name, timestamp, attributes, exception = event
    if exception is not None:
        attributes = {**exception.attributes(), **(attributes or {})}
    encoded, dropped = limited.event.encode(_plain(attributes), limited.max_event)
    return _event_field(limited.shown(name), timestamp, encoded, dropped)


def _event(event: Any, limited: _Limited) -> bytes:
    encoded, _ = limited.event.encode(_plain(event.attributes))
    return _event_field(limited.shown(event.name), event.timestamp, encoded, event.dropped_attributes)


def _event_field(name: str, timestamp: int, attributes: bytes, dropped: int) -> bytes:
    content = b"\x09" + _fixed64(timestamp) + optional(b"\x12", name) + attributes
    return field(b"\x5a", content + b"\x20" + varint(dropped) if dropped else content)


def _raw_link(link: Any, limited: _Limited) -> bytes:
    encoded, dropped = limited.link.encode(_plain(link.attributes), limited.max_link)
    return _link_field(link.context, encoded, dropped)


def _checked_link(link: Any, limited: _Limited) -> bytes:
    encoded, _ = limited.link.encode(_plain(link.attributes))
    return _link_field(link.context, encoded, link.dropped_attributes)


def _link_field(context: SpanContext, attributes: bytes, dropped: int) -> bytes:
    """A link; its trace state stays out, as in the official encoder."""
    content = _link(
        0x100A,
        context.trace_id.to_bytes(16, "big"),
        0x0812,
        context.span_id.to_bytes(8, "big"),
        0x35,
        _REMOTE if context.is_remote else _LOCAL,
    )
    return field(b"\x6a", content + attributes + (b"\x28" + varint(dropped) if dropped else b""))


def _plain(attributes: Mapping[str, Any] | None) -> dict[Any, Any]:
    """A dict of them: to iterate over the SDK's own mapping is a Python call for each key, to copy it is not."""
    if not attributes:
        return {}
    if type(attributes) is dict:
        return attributes
    try:
        copied = attributes.copy()  # type: ignore[attr-defined]
    except AttributeError:
        copied = None
    return copied if type(copied) is dict else dict(attributes)
