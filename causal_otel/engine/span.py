"""The span: the OpenTelemetry API's ``Span`` to user code, the SDK's ``ReadableSpan`` to processors and exporters."""

from __future__ import annotations

import copy
import os
import traceback
from time import perf_counter_ns, time_ns
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from causal_otel.engine import faults, outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from opentelemetry.sdk.trace import Span as SdkSpan
    from opentelemetry.util.types import Attributes, AttributeValue

    from causal_otel.engine.tracer import Tracer

__all__ = ["Span"]

_UNSET = Status(StatusCode.UNSET)
_SCALARS = frozenset({str, bool, int, float, bytes})
_STACK_FRAMES = 50
"""How many of the innermost frames of a traceback are recorded: formatting a deep one costs milliseconds."""


def _kept(value: Any) -> Any:
    """A value that the caller can no longer change."""
    if type(value) in _SCALARS or value is None:
        return value
    if isinstance(value, list | tuple):
        return tuple(_kept(item) for item in value)
    return copy.deepcopy(value)


class Span(trace.Span, ReadableSpan):
    """One operation. Made by :class:`~causal_otel.engine.tracer.Tracer`, never directly.

    Ending is idempotent and safe from any thread or task, changes after the end are ignored, and a span ends
    only in the process that started it: in a forked child it belongs to the parent still.
    """

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link],
        start_time: int | None,
        record_exception: bool,
        set_status_on_exception: bool,
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._context = context
        self._parent = parent
        self._kind = kind
        self._resource = tracer.resource
        self._instrumentation_scope = tracer.instrumentation_scope
        self._limits = tracer.span_limits
        self._status = _UNSET
        self._values: dict[str, Any] = {}  # as set; bounded and validated when read
        self._attributes = self._values  # under this name ReadableSpan.to_json() reads them
        self._evicted = 0
        self._bounded: BoundedAttributes | None = None
        self._events: list[Event] = []
        self._dropped_events = 0
        self._links: list[Link] = []
        self._dropped_links = 0
        self._record_exception = record_exception
        self._set_status_on_exception = set_status_on_exception
        self._pid = os.getpid()
        self._end_time: int | None = None
        # The wall clock says when it began; the monotonic clock, which never steps back, how long it took.
        self._start_clock = perf_counter_ns() if start_time is None else None
        self._began = self._start_time = time_ns() if start_time is None else start_time
        self._open = True  # deleted by the first end(): see there
        if attributes:
            self.set_attributes(attributes)
        for link in links:
            self.add_link(link.context, link.attributes)

    # -- what user code calls (opentelemetry.trace.Span) --------------------------------------------------------

    def get_span_context(self) -> SpanContext:
        """The immutable identity of this span."""
        return cast("SpanContext", self._context)

    def is_recording(self) -> bool:
        """Whether it has not ended yet."""
        return self._end_time is None

    def set_attribute(self, key: str, value: AttributeValue | None) -> None:
        """Set one attribute; over the count limit, the oldest goes."""
        if self._end_time is not None:
            return
        values = self._values
        limit = self._limits.max_span_attributes
        if limit is not None and key not in values and len(values) >= limit:
            self._evicted += 1
            if not limit:
                return
            del values[next(iter(values))]
        try:
            values[key] = _kept(value)
        except Exception:
            faults.report("engine: set_attribute")

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set several attributes at once."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Record something that happened, now or at ``timestamp`` (Unix time in nanoseconds)."""
        if self._end_time is not None:
            return
        limits = self._limits
        if limits.max_events is not None and len(self._events) >= limits.max_events:
            self._dropped_events += 1
            if not limits.max_events:
                return
            del self._events[0]
        bounded = BoundedAttributes(
            limits.max_event_attributes, attributes, max_value_len=limits.max_attribute_length, immutable=True
        )
        self._events.append(Event(name, bounded, timestamp))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Relate this span to another one; without attributes or trace state, an invalid context is ignored."""
        if self._end_time is not None or context is None:
            return
        if not (context.is_valid or attributes or context.trace_state):
            return
        limits = self._limits
        if limits.max_links is not None and len(self._links) >= limits.max_links:
            self._dropped_links += 1
            if not limits.max_links:
                return
            del self._links[0]
        bounded = BoundedAttributes(
            limits.max_link_attributes, attributes, max_value_len=limits.max_attribute_length, immutable=True
        )
        self._links.append(Link(context, bounded))

    def update_name(self, name: str) -> None:
        """Give it another name."""
        if self._end_time is None:
            self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Say how it went. OK is final, and UNSET never replaces another status (OpenTelemetry trace API)."""
        if self._end_time is not None or self._status.status_code is StatusCode.OK:
            return
        if not isinstance(status, Status):
            # Only an error has a description; the SDK warns about any other and drops it, and so do we, silently.
            status = Status(status, description if status is StatusCode.ERROR else None)
        if status.status_code is not StatusCode.UNSET:
            self._status = status

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Record ``exception`` as an event named ``exception`` (semantic conventions for exceptions)."""
        if self._end_time is not None:
            return
        kind = type(exception)
        values: dict[str, Any] = {
            "exception.type": kind.__qualname__
            if kind.__module__ == "builtins"
            else f"{kind.__module__}.{kind.__qualname__}",
        }
        try:
            values["exception.message"] = str(exception)
            values["exception.stacktrace"] = "".join(traceback.format_exception(exception, limit=-_STACK_FRAMES))
        except Exception:  # a __str__ that raises must not replace the user's exception
            faults.report("engine: record_exception")
        values["exception.escaped"] = str(escaped)
        self.add_event("exception", {**values, **(attributes or {})}, timestamp)

    def end(self, end_time: int | None = None) -> None:
        """End it, now or at ``end_time`` (Unix time in nanoseconds), and hand it to the processors."""
        if self._pid != os.getpid():
            return
        try:
            del self._open  # one instruction, so exactly one of several threads gets past it
        except AttributeError:
            return
        if end_time is None:
            if self._start_clock is None:
                end_time = max(time_ns(), self._began)
            else:
                end_time = self._began + perf_counter_ns() - self._start_clock
        processors = self._tracer.processors
        processors._on_ending(cast("SdkSpan", self))
        self._end_time = end_time
        processors.on_end(self)

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

    @property
    def attributes(self) -> Attributes:
        """The attributes, validated and within the limits; a copy while the span is live."""
        bounded = self._bounded
        if bounded is None:
            bounded = BoundedAttributes(
                self._limits.max_span_attributes,
                self._values,
                immutable=True,
                max_value_len=self._limits.max_span_attribute_length,
            )
            if self._end_time is not None:
                self._bounded = bounded
        return MappingProxyType(bounded)

    @property
    def dropped_attributes(self) -> int:
        """How many attributes the count limit has cost."""
        return self._evicted

    @property
    def events(self) -> Sequence[Event]:
        """The events, oldest first."""
        return tuple(self._events)

    @property
    def dropped_events(self) -> int:
        """How many events the count limit has cost."""
        return self._dropped_events

    @property
    def links(self) -> Sequence[Link]:
        """The links, oldest first."""
        return tuple(self._links)

    @property
    def dropped_links(self) -> int:
        """How many links the count limit has cost."""
        return self._dropped_links

    def __repr__(self) -> str:
        return f"Span(name={self._name!r}, context={self._context})"
