"""What a span knows, as processors and exporters read it: the SDK's ``ReadableSpan``.

Fields that every span has are slots, set by the tracer. Rare fields (events, links, a status) are class attributes with
their defaults; setting one stores it on the instance and sets ``_detailed``. ``SpanContext`` and the like are made when
somebody asks for them. Attributes are validated, and long values cut, when the span is read.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from causal_otel.engine.exceptions import CapturedException

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.util.types import Attributes

    from causal_otel.engine.core import BaseTracer
    from causal_otel.engine.local_trace import LocalTrace

__all__ = ["RawEvent", "SpanData"]

RawEvent = tuple[str, int, "Mapping[str, Any] | None", CapturedException | None]
"""An event as it is kept: name, Unix time in nanoseconds, attributes, and the exception that it tells of."""

_STATUS_CODES = tuple(StatusCode)  # by value


class SpanData(ReadableSpan):
    """The fields of a span, and how they are read. Text is shown as the provider's redaction has it.

    The encoder reads the fields themselves, and redacts on its own.
    """

    __slots__ = (
        "_attributes",
        "_detailed",
        "_end",
        "_id",
        "_kind",
        "_local_trace",
        "_name",
        "_open",
        "_parent_span",
        "_start",
        "_tracer",
    )

    _tracer: BaseTracer
    _name: str
    _kind: SpanKind
    _local_trace: LocalTrace
    _id: bytes | None  # None: nobody has asked for it
    _parent_span: SpanData | SpanContext | bytes | None  # ours, or its id once that is known; another; None: a root
    _attributes: dict[str, Any] | None  # as they were set
    _start: int  # of perf_counter_ns()
    _end: int  # likewise; 0: it has not ended
    _open: object  # the process's token, gone once it has ended
    _detailed: bool  # whether it has a status, events, links or dropped items, as few spans do

    _own_context: SpanContext | None = None
    _token: Any = None  # a context's, while its block goes on, if it has one
    _profile: Any = None  # what a profiler has seen of it
    _shared: bool = False  # other spans have the same dict: copy it before changing it
    _events: list[RawEvent] | None = None  # type: ignore[assignment]
    _links: list[Link] | None = None  # type: ignore[assignment]
    _status: int = 0  # type: ignore[assignment]  # the value of a StatusCode
    _description: str | None = None
    _dropped_attributes: int = 0
    _dropped_events: int = 0
    _dropped_links: int = 0

    def __init__(self) -> None:  # the bases' would set what the tracer sets
        raise TypeError("spans are started by a tracer")

    def get_span_context(self) -> SpanContext:
        """The immutable identity of this span."""
        found = self._own_context
        if found is None or found.trace_flags != self._local_trace.flags:  # the trace may have been promoted since
            found = self._own_context = self._trace_context(self.span_id())
        return found

    def span_id(self) -> bytes:
        """Its id as W3C and OTLP write it, drawn when somebody first asks: another process, a log line, the export."""
        found = self._id
        if found is None:
            drawn = self._tracer.core.new_span_id().to_bytes(8, "big")
            # If threads race, the first store wins. Look and store are atomic under CPython's GIL, which switches
            # threads only at calls and backward jumps; they are not on free-threaded builds.
            found = self._id = self._id or drawn
        return found

    def _trace_context(self, span_id: bytes) -> SpanContext:
        trace = self._local_trace
        number = int.from_bytes(span_id, "big")
        return SpanContext(trace.trace_id, number, False, TraceFlags(trace.flags), trace.trace_state)

    def forget(self) -> None:
        """Drop its attributes, events and links: it has been exported, and only a context still refers to it."""
        self._attributes = self._events = self._links = None

    @property
    def _limits(self) -> SpanLimits:
        return self._tracer.core.span_limits

    @property
    def context(self) -> SpanContext:
        """The immutable identity of this span."""
        return self.get_span_context()

    def parent_id(self) -> bytes:
        """The id of its parent; b"": it is a root.

        After this call the span keeps its parent's id instead of the parent object, so that chains can be freed.
        """
        parent = self._parent_span
        if parent is None:
            return b""
        if isinstance(parent, bytes):
            return parent
        if isinstance(parent, SpanContext):
            return parent.span_id.to_bytes(8, "big")
        self._parent_span = found = parent.span_id()
        return found

    @property
    def parent(self) -> SpanContext | None:
        """The identity of its parent; None: it is a root."""
        if isinstance(self._parent_span, SpanContext):
            return self._parent_span
        span_id = self.parent_id()
        return self._trace_context(span_id) if span_id else None

    @property
    def start_time(self) -> int:
        """Unix time in nanoseconds."""
        return self._start + self._local_trace.clock

    @property
    def end_time(self) -> int | None:
        """Unix time in nanoseconds; None while it is live."""
        return self._end + self._local_trace.clock if self._end else None

    @property
    def _start_time(self) -> int:  # type: ignore[override]  # OpenTelemetry's test utilities sort by it
        return self.start_time

    @property
    def name(self) -> str:
        """What it is called."""
        return self._shown(self._name)

    @property
    def status(self) -> Status:
        """How it went."""
        description = self._description
        return Status(_STATUS_CODES[self._status], None if description is None else self._shown(description))

    def _shown(self, text: str) -> str:
        redaction = self._tracer.core.redaction
        return text if redaction is None else redaction.text(text)

    def _view(self, attributes: Attributes, max_count: int | None, max_length: int | None) -> BoundedAttributes:
        redaction = self._tracer.core.redaction
        if redaction is not None and attributes:
            attributes = {key: redaction.value(key, value) for key, value in attributes.items()}
        return BoundedAttributes(max_count, attributes, immutable=True, max_value_len=max_length)

    @property
    def attributes(self) -> Attributes:
        """The attributes, validated and within the limits; a copy."""
        limits = self._limits
        return MappingProxyType(
            self._view(self._attributes, limits.max_span_attributes, limits.max_span_attribute_length)
        )

    @property
    def dropped_attributes(self) -> int:
        """How many attributes the count limit has cost."""
        return self._dropped_attributes

    @property
    def events(self) -> Sequence[Event]:
        """The events, oldest first."""
        limits = self._limits
        found = []
        for name, timestamp, attributes, exception in self._events or ():
            values = attributes or {}
            if exception is not None:
                values = {**exception.attributes(), **values}
            bounded = self._view(values, limits.max_event_attributes, limits.max_attribute_length)
            found.append(Event(self._shown(name), bounded, timestamp))
        return tuple(found)

    @property
    def dropped_events(self) -> int:
        """How many events the count limit has cost."""
        return self._dropped_events

    @property
    def links(self) -> Sequence[Link]:
        """The links, oldest first."""
        limits = self._limits
        return tuple(
            Link(
                link.context,
                self._view(link.attributes, limits.max_link_attributes, limits.max_attribute_length),
            )
            for link in self._links or ()
        )

    @property
    def dropped_links(self) -> int:
        """How many links the count limit has cost."""
        return self._dropped_links

    @property
    def resource(self) -> Resource:
        """What it is about: the service."""
        return self._tracer.core.resource

    @property
    def instrumentation_scope(self) -> InstrumentationScope:
        """Who has made it."""
        return self._tracer.instrumentation_scope

    def to_json(self, indent: int | None = 4) -> str:
        """As the SDK's spans write themselves."""
        copied = ReadableSpan(
            self.name,
            self.context,
            self.parent,
            self.resource,
            self.attributes,
            self.events,
            self.links,
            self._kind,
            None,
            self.status,
            self.start_time,
            self.end_time,
            self.instrumentation_scope,
        )
        return copied.to_json(indent)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, context={self.context})"
