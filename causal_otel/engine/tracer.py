"""The tracer: decides whether a span is recorded, then makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import Decision, SamplingResult
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags

from causal_otel.engine import context, faults
from causal_otel.engine.scope import SpanScope
from causal_otel.engine.span import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Span as SdkSpan
    from opentelemetry.sdk.trace import SpanLimits
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.util.types import Attributes

    from causal_otel.engine.processors import ContainedProcessors
    from causal_otel.engine.provider import TracerProvider

__all__ = ["Tracer"]

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NOT_SAMPLED = TraceFlags(TraceFlags.DEFAULT)


class Tracer(trace.Tracer):
    """Makes the spans of one instrumentation scope. Obtained from the provider, never made directly.

    Everything but the scope is read from the provider at each use, so that a tracer kept in a module's global
    goes on working when :func:`causal_otel.install` is undone and done again.
    """

    def __init__(self, provider: TracerProvider, scope: InstrumentationScope) -> None:
        self._provider = provider
        self.instrumentation_scope = scope

    @property
    def resource(self) -> Resource:
        """What the spans are about: the service."""
        return self._provider.resource

    @property
    def span_limits(self) -> SpanLimits:
        """How much one span may hold."""
        return self._provider.span_limits

    @property
    def processors(self) -> ContainedProcessors:
        """Who is told when a span begins and ends."""
        return self._provider.processors

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
        provider = self._provider
        where = _context.current() if context is None else context
        parent_span = _context.current_span(where)
        parent = None if parent_span is None else parent_span.get_span_context()
        if parent is not None and not parent.is_valid:
            parent = None
        if provider.closed:
            return trace.INVALID_SPAN if parent is None else NonRecordingSpan(parent)

        ids = provider.id_generator
        links = links or ()
        if parent is None:
            trace_id = ids.generate_trace_id()
            random = ids.is_trace_id_random()
            origin = _context.detached_from(where)
            if origin is not None:
                links = (*links, Link(origin, {"causal.link": "detached"}))
        else:
            trace_id = parent.trace_id
            random = parent.trace_flags.random_trace_id
        try:
            sampling = provider.sampler.should_sample(where, trace_id, name, kind, attributes, links)
        except Exception:
            faults.report(f"sampler {type(provider.sampler).__name__}")
            sampling = SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, parent and parent.trace_state)
        flags = _SAMPLED if sampling.decision is Decision.RECORD_AND_SAMPLE else _NOT_SAMPLED
        if random:
            flags = TraceFlags(flags | TraceFlags.RANDOM_TRACE_ID)
        own = SpanContext(trace_id, ids.generate_span_id(), False, flags, sampling.trace_state)
        if sampling.decision is Decision.DROP:
            return NonRecordingSpan(own)
        span = Span(
            self,
            name,
            own,
            parent,
            kind,
            sampling.attributes,
            links,
            start_time,
            record_exception,
            set_status_on_exception,
        )
        self.processors.on_start(cast("SdkSpan", span), parent_context=where)
        return span

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
    ) -> SpanScope:
        """A context manager that starts a span and makes it current, or a decorator that does so at each call.

        As a decorator it tells ``def``, ``async def``, generators and async generators apart. The arguments are
        those of :meth:`start_span`; ``end_on_exit`` says whether leaving the block ends the span.
        """

        def start() -> trace.Span:
            return self.start_span(
                name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
            )

        return SpanScope(
            start, record=record_exception, status=set_status_on_exception, end_on_exit=end_on_exit, context=context
        )


_context = context  # the name is also that of an argument which the API prescribes
