"""The tracer: decides whether a span is recorded, then makes it.

There are three ways to start a span, and they share their end:

* :meth:`Tracer.start_span`, the OpenTelemetry API's: any parent, sampler, links, times. Not made current.
* :meth:`Tracer.start_as_current_span`, the API's as well: current for the length of a block, or of a decorated call.
* :meth:`Tracer.start_leaf`, for patches: a client's operation under the current span, never made current.

The last two have a short way for the usual case, a parent of ours that is recorded, where the sampler would only
repeat what was decided for the parent. Everything else goes through :meth:`Tracer.start_span`.
"""

from __future__ import annotations

from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any, cast

from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import Decision, SamplingResult
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags

from causal_otel.engine import context as contexts
from causal_otel.engine import faults, process
from causal_otel.engine.context import SPAN_KEY
from causal_otel.engine.current_span import CurrentSpan
from causal_otel.engine.span import LeafSpan, Span, copied

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span as SdkSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.util.types import Attributes

    from causal_otel.engine.provider import TracerProvider

__all__ = ["Tracer"]

_RANDOM = TraceFlags.RANDOM_TRACE_ID
_SAMPLED = TraceFlags.SAMPLED
_current = contexts.current
_new = object.__new__  # a span's __init__ refuses; its fields are set here


class Tracer(trace.Tracer):
    """Makes the spans of one instrumentation scope. Obtained from the provider, never made directly.

    Everything but the scope is read from the provider at each use, so that a tracer kept in a module's global
    goes on working when :func:`causal_otel.install` is undone and done again.

    Attributes:
        provider: the provider.
        instrumentation_scope: the scope.
    """

    def __init__(self, provider: TracerProvider, scope: InstrumentationScope) -> None:
        self.provider = provider
        self.instrumentation_scope = scope

    def start_leaf(self, name: str, kind: SpanKind, attributes: dict[str, Any]) -> trace.Span:
        """Start a span under the current one that is not made current itself.

        Args:
            name: its name.
            kind: its kind.
            attributes: kept as they are, not copied: nobody may change them, nor what is in them, from now on.
        """
        provider = self.provider
        parent: Any = _current().get(SPAN_KEY)
        try:
            flags = parent._flags  # only ours has them
        except AttributeError:
            flags = 0
        if not (flags & _SAMPLED and provider.quick) or len(attributes) > provider.max_attributes:
            return self.start_span(name, None, kind, attributes)
        # Written out here as in CurrentSpan.__enter__: a shared function would cost both a tenth of what they take.
        span = _new(LeafSpan)
        span._tracer = self
        span._name = name
        span._kind = kind
        span._attributes = attributes
        span._flags = flags
        span._trace_id = parent._trace_id
        span._parent_id = parent._span_id
        if parent._trace_state is not None:
            span._trace_state = parent._trace_state
        span._span_id = provider.new_span_id()
        span._clock = clock = parent._clock
        span._end = 0
        span._open = process.home
        span._start = perf_counter_ns() + clock
        return span

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        """Start a span without making it current (OpenTelemetry trace API).

        Args:
            name: low in cardinality: an operation, not an instance of it.
            context: where to find the parent; default: the current context.
            kind: its role towards other processes.
            attributes: those known at the start, for the sampler to see.
            links: other spans it is related to.
            start_time: Unix time in nanoseconds; default: now.
            record_exception: whether leaving ``with span:`` by an exception records that.
            set_status_on_exception: whether it sets the status ERROR as well.

        Returns:
            A recording span, or one that only carries the context if the sampler says no.
        """
        provider = self.provider
        where = contexts.current() if context is None else context
        parent_span = contexts.current_span(where)
        parent = None if parent_span is None else parent_span.get_span_context()
        if parent is not None and not parent.is_valid:
            parent = None
        if provider.closed:
            return trace.INVALID_SPAN if parent is None else NonRecordingSpan(parent)

        ids = provider.id_generator
        if parent is None:
            trace_id = ids.generate_trace_id()
            flags = _RANDOM if ids.is_trace_id_random() else 0
            origin = contexts.detached_from(where)
            if origin is not None:
                links = (*(links or ()), Link(origin, {"causal.link": "detached"}))
        else:
            trace_id = parent.trace_id
            flags = parent.trace_flags & _RANDOM
        try:
            sampling = provider.sampler.should_sample(where, trace_id, name, kind, attributes, links or ())
        except Exception:
            faults.report(f"sampler {type(provider.sampler).__name__}")
            sampling = SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, parent and parent.trace_state)
        if sampling.decision is Decision.RECORD_AND_SAMPLE:
            flags |= _SAMPLED
        if sampling.decision is Decision.DROP:
            own = SpanContext(trace_id, ids.generate_span_id(), False, TraceFlags(flags), sampling.trace_state)
            return NonRecordingSpan(own)

        span = _new(Span)
        span._tracer = self
        span._name = name
        span._kind = kind
        span._trace_id = trace_id
        span._span_id = ids.generate_span_id()
        span._flags = flags
        span._attributes = None
        span._end = 0
        span._open = process.home
        if sampling.trace_state:
            span._trace_state = sampling.trace_state
        if parent is None:
            span._parent_id = 0
        else:
            span._parent_id = parent.span_id
            if parent.is_remote:
                span._parent_remote = True
            if parent.is_remote or parent.trace_flags != flags or parent.trace_state != sampling.trace_state:
                span._parent_context = parent  # else it is made when somebody asks: see Span.parent
        if not record_exception:
            span._record_exception = False
        if not set_status_on_exception:
            span._set_status_on_exception = False
        # Within a process all of a trace has one clock, so that its spans are in order to the nanosecond.
        inherited = getattr(parent_span, "_clock", None)
        span._clock = time_ns() - perf_counter_ns() if inherited is None else inherited
        span._start = perf_counter_ns() + span._clock if start_time is None else start_time
        if start_time is not None:
            span._clock = time_ns() - perf_counter_ns()  # it has its own idea of time
        if sampling.attributes:
            self._fill(span, sampling.attributes)
        for link in links or ():
            span.add_link(link.context, link.attributes)
        if provider.notes_starts:
            provider.processors.on_start(cast("SdkSpan", span), parent_context=where)
        return span

    def _fill(self, span: Span, attributes: Mapping[str, Any]) -> None:
        try:
            if len(attributes) > self.provider.max_attributes:
                span.set_attributes(attributes)
            else:
                span._attributes = copied(attributes)
        except Exception:
            faults.report("engine: attributes")

    def start_as_current_span(  # type: ignore[override]  # the API types it as its own private context manager
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> CurrentSpan:
        """A context manager that starts a span and makes it current, or a decorator that does so at each call.

        As a decorator it tells ``def``, ``async def``, generators and async generators apart. The arguments are
        those of :meth:`start_span`; ``end_on_exit`` says whether leaving the block ends the span.
        """
        span = _new(CurrentSpan)
        span._tracer = self
        span._name = name
        span._kind = kind
        span._attributes = attributes  # type: ignore[assignment]  # the caller's, until the block is entered
        if context is not None or links or start_time is not None:
            span._given = (context, links, start_time)
            span._usual = False
        if not record_exception:
            span._record_exception = False
        if not set_status_on_exception:
            span._set_status_on_exception = False
        if not end_on_exit:
            span._end_on_exit = False
        return span
