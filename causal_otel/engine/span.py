"""The span: the OpenTelemetry API's ``Span`` to user code."""

from __future__ import annotations

from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import Link, SpanContext, Status, StatusCode

from causal_otel._internal import faults, process
from causal_otel.engine import context as contexts
from causal_otel.engine import outcome
from causal_otel.engine.exceptions import CapturedException, capture
from causal_otel.engine.span_data import SpanData
from causal_otel.engine.values import SCALARS, frozen
from causal_otel.names import EXCEPTION_ESCAPED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from opentelemetry.util.types import Attributes, AttributeValue

__all__ = ["LeafSpan", "Span"]

_LONG = 1_000_000
"""Nanoseconds from which on the core's observer of long spans is told of a span."""


class Span(SpanData, trace.Span):
    """One operation. Made by :class:`~causal_otel.engine.tracer.Tracer`, never directly.

    Ending is idempotent and safe from any thread or task, changes after the end are ignored, and a span ends
    only in the process that started it: in a forked child it belongs to the parent still.
    """

    __slots__ = ()

    _record_exception: bool = True
    _set_status_on_exception: bool = True

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
            values = self._attributes
            if values is not None and len(values) + len(attributes) <= self._tracer.core.max_attributes:
                if self._shared:
                    values = self._attributes = values.copy()
                    self._shared = False
                for key, value in attributes.items():
                    values[key] = value if type(value) in SCALARS else frozen(value)
                return
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
            self._detailed = True
            self._dropped_attributes += 1
            if not limit:
                return
            del values[next(iter(values))]
        values[key] = value if type(value) in SCALARS else frozen(value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Record something that happened, now or at ``timestamp`` (Unix time in nanoseconds)."""
        if not self._end:
            self._add_event(name, attributes, timestamp, None)

    def _add_event(
        self, name: str, attributes: Attributes, timestamp: int | None, exception: CapturedException | None
    ) -> None:
        limit = self._limits.max_events
        self._detailed = True
        events = self._events
        if events is None:
            events = self._events = []
        if limit is not None and len(events) >= limit:
            self._dropped_events += 1
            if not limit:
                return
            del events[0]
        values = {key: frozen(value) for key, value in attributes.items()} if attributes else None
        events.append((name, time_ns() if timestamp is None else timestamp, values, exception))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Relate this span to another one; without attributes or trace state, an invalid context is ignored."""
        if self._end or context is None:
            return
        if not (context.is_valid or attributes or context.trace_state):
            return
        limit = self._limits.max_links
        self._detailed = True
        links = self._links
        if links is None:
            links = self._links = []
        if limit is not None and len(links) >= limit:
            self._dropped_links += 1
            if not limit:
                return
            del links[0]
        links.append(Link(context, {key: frozen(value) for key, value in attributes.items()} if attributes else None))

    def update_name(self, name: str) -> None:
        """Give it another name."""
        if not self._end:
            self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status. OK is final, and UNSET never replaces another status (OpenTelemetry trace API)."""
        if self._end or self._status == StatusCode.OK.value:
            return
        if isinstance(status, Status):
            code, description = status.status_code, status.description
        else:
            code = status
        if code is not StatusCode.UNSET:
            self._detailed = True
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
                attributes = {EXCEPTION_ESCAPED: "True", **(attributes or {})}
            self._add_event("exception", attributes, timestamp, capture(exception))

    def end(self, end_time: int | None = None) -> None:
        """End it, now or at ``end_time`` (Unix time in nanoseconds), and hand it to the processors."""
        try:
            if self._open is not process.token:
                return
            del self._open  # one instruction, so exactly one of several threads gets past it
        except AttributeError:
            return
        core = self._tracer.core
        if core.has_on_ending:
            core.processors._on_ending(self)  # type: ignore[arg-type]
        local = self._local_trace
        end = perf_counter_ns() if end_time is None else end_time - local.clock
        if end - self._start >= _LONG and core.long_span is not None:
            core.long_span(self, end)
        self._end = end
        try:
            if local.buffered is not None:
                core.counts.ended_unsampled += 1
                if local.flags & 1:
                    core.deliver(self)
                else:
                    local.buffered.take(self)
            elif local.recorded:
                core.counts.ended += 1
                core.deliver(self)
            else:  # for processors that asked for it (Decision.RECORD_ONLY)
                core.counts.ended_unsampled += 1
                core.processors.on_end(self)
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
            outcome.record_outcome(self, exc_val, record=self._record_exception, status=self._set_status_on_exception)
        self.end()


class LeafSpan(Span):
    """A span that is never made current, whose attributes may be a mapping that many spans share."""

    __slots__ = ()

    _shared = True

    def share(self, before: dict[str, Any], after: dict[str, Any]) -> bool:
        """Share another mapping from now on, so that what many spans learn is encoded once for all of them, too.

        Args:
            before: the mapping that it has shared until now.
            after: all that is in ``before``, and more. Nobody changes it any more.

        Returns:
            Whether it does: not if an attribute has been set since it was started, or if it would have too many.
        """
        if self._attributes is not before or self._end or len(after) > self._tracer.core.max_attributes:
            return False
        self._attributes = after
        return True


def _draw_ids() -> None:
    """Before a fork: give the current span and its ancestors their ids, so that both processes have the same."""
    span: Any = contexts.current_span()
    while isinstance(span, Span):
        span.span_id()
        span = span._parent_span


process.at_fork(before=_draw_ids)
