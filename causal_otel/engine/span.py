"""The span: the OpenTelemetry API's ``Span`` to user code, the SDK's ``ReadableSpan`` to processors and exporters.

What most spans never have (links, events, a status) is a class attribute with its default, and shadowed in the
instance when it is set. What every span has is a slot, set by the tracer. Objects that others ask for, such as
``SpanContext``, are made when they ask. Validation and limits on lengths wait until the span is read.
"""

from __future__ import annotations

import copy
from time import perf_counter_ns, time_ns
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from causal_otel.engine import faults, outcome, process
from causal_otel.engine.exceptions import CapturedException, capture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.util.types import Attributes, AttributeValue

    from causal_otel.engine.provider import TracerProvider
    from causal_otel.engine.tracer import Tracer

__all__ = ["SCALARS", "LeafSpan", "RawEvent", "Span", "copied", "kept"]

SCALARS = frozenset({str, bool, int, float, bytes, type(None)})
"""Types whose values nobody can change."""

RawEvent = tuple[str, int, "Mapping[str, Any] | None", CapturedException | None]
"""An event as it is kept: name, Unix time in nanoseconds, attributes, and the exception that it tells of."""

_STATUS_CODES = tuple(StatusCode)  # by value


def kept(value: Any) -> Any:
    """``value``, or a copy of it that the caller cannot change."""
    if type(value) in SCALARS:
        return value
    if isinstance(value, list | tuple):
        return tuple(map(kept, value))
    return copy.deepcopy(value)


def copied(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``attributes`` that the caller cannot change, nor what is in it."""
    try:
        hash(tuple(attributes.values()))  # what can be hashed cannot be changed; quicker than to look at each type
        return attributes.copy()  # type: ignore[attr-defined, no-any-return]  # nearly always a dict
    except (TypeError, AttributeError):
        return {key: kept(value) for key, value in attributes.items()}


class Span(trace.Span, ReadableSpan):
    """One operation. Made by :class:`~causal_otel.engine.tracer.Tracer`, never directly.

    Ending is idempotent and safe from any thread or task, changes after the end are ignored, and a span ends
    only in the process that started it: in a forked child it belongs to the parent still.
    """

    __slots__ = (
        "_attributes",
        "_clock",
        "_end",
        "_flags",
        "_kind",
        "_name",
        "_open",
        "_parent_id",
        "_span_id",
        "_start",
        "_trace_id",
        "_tracer",
    )

    _tracer: Tracer
    _name: str
    _kind: SpanKind
    _trace_id: int
    _span_id: int
    _parent_id: int  # 0: a root
    _flags: int  # of W3C Trace Context
    _attributes: dict[str, Any] | None  # as they were set
    _clock: int  # what to add to perf_counter_ns() for Unix time: the same in all of a process's part of a trace
    _start: int
    _end: int  # 0: it has not ended
    _open: object  # the process's token, gone once it has ended

    _trace_state: TraceState | None = None
    _parent_remote: bool = False
    _parent_context: SpanContext | None = None
    _own_context: SpanContext | None = None
    _shared: bool = False  # the attributes are others' as well, who do not change them
    _record_exception: bool = True
    _set_status_on_exception: bool = True
    _events: list[RawEvent] | None = None  # type: ignore[assignment]
    _links: list[Link] | None = None  # type: ignore[assignment]
    _status: int = 0  # type: ignore[assignment]  # the value of a StatusCode
    _description: str | None = None
    _dropped_attributes: int = 0
    _dropped_events: int = 0
    _dropped_links: int = 0

    def __init__(self) -> None:  # the bases' would set what the tracer sets
        raise TypeError("spans are started by a tracer")

    # -- what user code calls (opentelemetry.trace.Span) --------------------------------------------------------

    def get_span_context(self) -> SpanContext:
        """The immutable identity of this span."""
        found = self._own_context
        if found is None:
            found = self._own_context = SpanContext(
                self._trace_id, self._span_id, False, TraceFlags(self._flags), self._trace_state
            )
        return found

    def is_recording(self) -> bool:
        """Whether it has not ended yet."""
        return not self._end

    def set_attribute(self, key: str, value: AttributeValue | None) -> None:
        """Set one attribute; over the count limit, the oldest goes."""
        if self._end:
            return
        try:
            self._set(key, value)
        except Exception:
            faults.report("engine: set_attribute")

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set several attributes at once."""
        if self._end:
            return
        try:
            for key, value in attributes.items():
                self._set(key, value)
        except Exception:
            faults.report("engine: set_attributes")

    def _set(self, key: str, value: Any) -> None:
        values = self._attributes
        limit = self._limits.max_span_attributes
        if values is None:
            values = self._attributes = {}
        elif self._shared:
            values = self._attributes = values.copy()
            self._shared = False
        if limit is not None and key not in values and len(values) >= limit:
            self._dropped_attributes += 1
            if not limit:
                return
            del values[next(iter(values))]
        values[key] = value if type(value) in SCALARS else kept(value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Record something that happened, now or at ``timestamp`` (Unix time in nanoseconds)."""
        if not self._end:
            self._add_event(name, attributes, timestamp, None)

    def _add_event(
        self, name: str, attributes: Attributes, timestamp: int | None, exception: CapturedException | None
    ) -> None:
        limit = self._limits.max_events
        events = self._events
        if events is None:
            events = self._events = []
        if limit is not None and len(events) >= limit:
            self._dropped_events += 1
            if not limit:
                return
            del events[0]
        values = {key: kept(value) for key, value in attributes.items()} if attributes else None
        events.append((name, time_ns() if timestamp is None else timestamp, values, exception))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Relate this span to another one; without attributes or trace state, an invalid context is ignored."""
        if self._end or context is None:
            return
        if not (context.is_valid or attributes or context.trace_state):
            return
        limit = self._limits.max_links
        links = self._links
        if links is None:
            links = self._links = []
        if limit is not None and len(links) >= limit:
            self._dropped_links += 1
            if not limit:
                return
            del links[0]
        links.append(Link(context, {key: kept(value) for key, value in attributes.items()} if attributes else None))

    def update_name(self, name: str) -> None:
        """Give it another name."""
        if not self._end:
            self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Say how it went. OK is final, and UNSET never replaces another status (OpenTelemetry trace API)."""
        if self._end or self._status == StatusCode.OK.value:
            return
        if isinstance(status, Status):
            code, description = status.status_code, status.description
        else:
            code = status
        if code is not StatusCode.UNSET:
            self._status = code.value
            # Only an error has a description; the SDK warns about any other and drops it, and so do we, silently.
            self._description = description if code is StatusCode.ERROR else None

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Record ``exception`` as an event named ``exception`` (semantic conventions for exceptions).

        It is formatted when the span is read, off the path of the code that failed, without source lines.
        """
        if not self._end:
            if escaped:
                attributes = {"exception.escaped": "True", **(attributes or {})}
            self._add_event("exception", attributes, timestamp, capture(exception))

    def end(self, end_time: int | None = None) -> None:
        """End it, now or at ``end_time`` (Unix time in nanoseconds), and hand it to the processors."""
        try:
            if self._open is not process.home:
                return
            del self._open  # one instruction, so exactly one of several threads gets past it
        except AttributeError:
            return
        provider = self._tracer.provider
        if provider.notes_endings:
            provider.processors._on_ending(self)  # type: ignore[arg-type]
        self._end = perf_counter_ns() + self._clock if end_time is None else end_time
        try:
            provider.deliver(self)
        except Exception:
            faults.report("engine: end")

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """End it; what left the block is recorded as the flags given at the start ask for."""
        if exc_val is not None:
            outcome.fail(self, exc_val, record=self._record_exception, status=self._set_status_on_exception)
        self.end()

    # -- what processors and exporters read (opentelemetry.sdk.trace.ReadableSpan) ------------------------------

    def forget(self) -> None:
        """Let go of all that it holds: it has been exported, and only a context remembers it."""
        self._attributes = self._events = self._links = None

    @property
    def provider(self) -> TracerProvider:
        """The provider whose tracer has made it."""
        return self._tracer.provider

    @property
    def _limits(self) -> SpanLimits:
        return self._tracer.provider.span_limits

    @property
    def context(self) -> SpanContext:
        """The immutable identity of this span."""
        return self.get_span_context()

    @property
    def parent(self) -> SpanContext | None:
        """The identity of its parent; None: it is a root."""
        found = self._parent_context
        if found is None and self._parent_id:
            # A parent in this process: it has our flags and trace state, or would be kept.
            found = self._parent_context = SpanContext(
                self._trace_id, self._parent_id, False, TraceFlags(self._flags), self._trace_state
            )
        return found

    @property
    def start_time(self) -> int:
        """Unix time in nanoseconds."""
        return self._start

    @property
    def end_time(self) -> int | None:
        """Unix time in nanoseconds; None while it is live."""
        return self._end or None

    @property
    def _start_time(self) -> int:  # type: ignore[override]  # OpenTelemetry's test utilities sort by it
        return self._start

    @property
    def status(self) -> Status:
        """How it went."""
        return Status(_STATUS_CODES[self._status], self._description)

    @property
    def attributes(self) -> Attributes:
        """The attributes, validated and within the limits; a copy."""
        limits = self._limits
        return MappingProxyType(
            BoundedAttributes(
                limits.max_span_attributes,
                self._attributes,
                immutable=True,
                max_value_len=limits.max_span_attribute_length,
            )
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
            bounded = BoundedAttributes(
                limits.max_event_attributes, values, immutable=True, max_value_len=limits.max_attribute_length
            )
            found.append(Event(name, bounded, timestamp))
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
                BoundedAttributes(
                    limits.max_link_attributes,
                    link.attributes,
                    immutable=True,
                    max_value_len=limits.max_attribute_length,
                ),
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
        return self._tracer.provider.resource

    @property
    def instrumentation_scope(self) -> InstrumentationScope:
        """Who has made it."""
        return self._tracer.instrumentation_scope

    def to_json(self, indent: int | None = 4) -> str:
        """As the SDK's spans write themselves."""
        copied = ReadableSpan(
            self._name,
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
        return f"{type(self).__name__}(name={self._name!r}, context={self.context})"


class LeafSpan(Span):
    """A span that is never made current, whose attributes may be a mapping that many spans share."""

    __slots__ = ()

    _shared = True
