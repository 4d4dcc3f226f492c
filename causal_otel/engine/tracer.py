"""The tracer: decides whether a span is recorded, then makes it.

There are four ways to start a span:

* :meth:`Tracer.start_span`, the OpenTelemetry API's: any parent, sampler, links, times. Not made current.
* :meth:`Tracer.start_as_current_span`, the API's as well: current for the length of a block, or of a decorated call.
* :meth:`Tracer.start_leaf`, for patches: a client's operation under the current span, never made current.
* :meth:`Tracer.start_entry`, for patches: what another process has asked for, such as a request.

The last three have a fast path for the most frequent case: a recorded parent of ours, or for ``start_entry`` one in
another process or none. There the sampler would only repeat what it decided for the parent, or is asked by a shorter
way. Everything else goes through :meth:`Tracer.start_span`.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, cast

from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import Decision, SamplingResult
from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, TraceFlags

from causal_otel._internal import faults, process
from causal_otel.engine import context as contexts
from causal_otel.engine.context import SPAN_KEY
from causal_otel.engine.core import BaseTracer
from causal_otel.engine.current_span import CurrentSpan, RareArguments
from causal_otel.engine.environ import callers, parent_of_first_root
from causal_otel.engine.local_trace import LocalTrace, local_trace_of
from causal_otel.engine.span import LeafSpan, Span
from causal_otel.engine.thread_waits import take_thread_wait, waits
from causal_otel.engine.unsampled import ExcludedSpan, UnsampledSpan
from causal_otel.engine.values import frozen_dict
from causal_otel.names import CAUSAL_LINK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span as SdkSpan
    from opentelemetry.trace import SpanContext
    from opentelemetry.util.types import Attributes

    from causal_otel.engine.counts import SpanCounts
    from causal_otel.engine.retroactive import Buffer, BufferedTrace

__all__ = ["Tracer"]

_RANDOM = TraceFlags.RANDOM_TRACE_ID
_SAMPLED = TraceFlags.SAMPLED
_DROP, _RECORD_ONLY, _RECORD_AND_SAMPLE = Decision.DROP, Decision.RECORD_ONLY, Decision.RECORD_AND_SAMPLE
_current = contexts.current
_new = object.__new__  # a span's __init__ refuses; its fields are set here


class Tracer(BaseTracer):
    """Makes the spans of one instrumentation scope. Obtained from the provider, never made directly.

    Everything but the scope is read from the core at each use, so that a tracer kept in a module's global
    goes on working when :func:`causal_otel.install` is undone and done again.
    """

    def start_leaf(self, name: str, kind: SpanKind, attributes: dict[str, Any]) -> trace.Span:
        """Start a span under the current one that is not made current itself.

        Args:
            name: its name.
            kind: its kind.
            attributes: kept as they are, not copied: nobody may change them, nor what is in them, from now on.
        """
        core = self.core
        try:
            parent: Any = _current()[SPAN_KEY]
            local = parent._local_trace  # only ours have it
        except (KeyError, AttributeError):
            return self.start_span(name, None, kind, attributes)
        if not (core.fast_child and local.recorded) or len(attributes) > core.max_attributes:
            return self.start_span(name, None, kind, attributes)
        # The same lines are in CurrentSpan.__enter__: a shared function would make both a tenth slower.
        span = _new(LeafSpan)
        span._tracer = self
        span._name = name
        span._kind = kind
        span._attributes = attributes
        span._local_trace = local
        span._parent_span = parent
        span._id = None
        span._detailed = False
        span._end = 0
        span._open = process.token
        core.counts.fast += 1
        if local.buffered is not None:
            core.counts.record_only("local")
        span._start = perf_counter_ns()
        if waits:
            take_thread_wait(span)
        return span

    def start_entry(self, name: str, kind: SpanKind, attributes: dict[str, Any], context: Context) -> trace.Span:
        """Start a span of what another process has asked for, such as a request. It is not made current.

        Args:
            name: its name.
            kind: its kind.
            attributes: strings, numbers and booleans that are known now; copied.
            context: of :func:`~causal_otel.engine.context.incoming`, with the parent that the request names, if any.
        """
        core = self.core
        parent: Any = context.get(SPAN_KEY)
        if len(attributes) > core.max_attributes:
            return self.start_span(name, context, kind, attributes)
        local = core.new_trace(name, kind, attributes) if parent is None else core.continued(parent)
        if local is None:
            return self.start_span(name, context, kind, attributes)
        if not local.recorded:
            return UnsampledSpan(local, core)
        span = self._make(name, kind, local, None if parent is None else parent.get_span_context())
        span._attributes = attributes.copy()
        if parent is None:
            core.counts.fast += 1
            if local.buffered is not None:
                core.counts.record_only("none")
                local.buffered.begin(span)
        if waits:
            take_thread_wait(span)
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
        core = self.core
        where = _current() if context is None else context
        if callers and context is None and SPAN_KEY not in where:
            where = parent_of_first_root(where) or where
        parent: trace.Span | None = where.get(SPAN_KEY)  # type: ignore[assignment]
        if type(parent) is ExcludedSpan:
            return parent  # whatever the sampler would say
        identity = None if parent is None else _valid(parent.get_span_context())
        if core.closed:
            return trace.INVALID_SPAN if identity is None else NonRecordingSpan(identity)
        if identity is None:
            links = _with_detached(links, where)

        decision, local, recorded = self._decide(where, parent, identity, name, kind, attributes, links or ())
        buffered = None if core.buffer is None else self._buffer_root(core.buffer, decision, local, identity)
        _count(core.counts, decision, local, identity)
        if decision is _DROP and buffered is None:
            return UnsampledSpan(local, core)

        span = self._make(name, kind, local, identity)
        if start_time is not None:
            span._start = start_time - local.clock
        if not record_exception:
            span._record_exception = False
        if not set_status_on_exception:
            span._set_status_on_exception = False
        if buffered is not None:
            buffered.begin(span)
            recorded = attributes  # not what the sampler made of them for a span that it drops
        if recorded or links:
            self._fill(span, recorded, links or ())
        if waits:
            take_thread_wait(span)
        if core.has_on_start:
            core.processors.on_start(cast("SdkSpan", span), parent_context=where)
        return span

    def _decide(
        self,
        where: Context,
        parent: trace.Span | None,
        identity: SpanContext | None,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link],
    ) -> tuple[Decision, LocalTrace, Attributes]:
        """What becomes of a span: whether it is recorded, in which part of its trace, and with which attributes."""
        core = self.core
        if identity is None:
            ids = core.id_generator
            trace_id = ids.generate_trace_id()
            flags = _RANDOM if ids.is_trace_id_random() else 0
        else:
            trace_id = identity.trace_id
            flags = identity.trace_flags & _RANDOM
        local = local_trace_of(parent)
        if local is not None and local.buffered is not None and not local.flags & _SAMPLED:
            decision, state = _RECORD_ONLY, local.trace_state  # it is buffered with its parent
        elif identity is None and core.decide_root is not None:
            verdict, state = core.decide_root(trace_id, name, kind, attributes)
            decision = _RECORD_AND_SAMPLE if verdict & _SAMPLED else _DROP
        else:
            sampling = self._ask(where, trace_id, name, kind, attributes, links)
            decision, attributes, state = sampling.decision, sampling.attributes, sampling.trace_state or None
        if decision is _RECORD_AND_SAMPLE:
            flags |= _SAMPLED
        if local is None or local.flags != flags or local.trace_state != state:
            # Within a process all of a trace has one clock, whatever the sampler says of its parts.
            above, local = local, LocalTrace(trace_id, flags, state, None if local is None else local.clock)
            if above is not None:
                local.task = above.task
        return decision, local, attributes

    def _buffer_root(
        self, buffer: Buffer, decision: Decision, local: LocalTrace, parent: SpanContext | None
    ) -> BufferedTrace | None:
        """Buffer a local root that is not sampled; one that is promotes what is buffered of its trace already."""
        if parent is not None and not parent.is_remote:
            return None  # no local root
        if decision is _DROP:
            return self.core.begin_buffering(local)
        if parent is not None:
            buffer.promote(local.trace_id)
        return None

    def _make(self, name: str, kind: SpanKind, local: LocalTrace, parent: SpanContext | None) -> Span:
        """A span that begins now, with nothing on it."""
        span = _new(Span)
        span._tracer = self
        span._name = name
        span._kind = kind
        span._attributes = None
        span._local_trace = local
        span._parent_span = parent
        span._id = None
        span._detailed = False
        span._end = 0
        span._open = process.token
        span._start = perf_counter_ns()
        return span

    def _ask(
        self,
        where: Context,
        trace_id: int,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link],
    ) -> SamplingResult:
        sampler = self.core.sampler
        try:
            found = sampler.should_sample(where, trace_id, name, kind, attributes, links)
            if isinstance(found, SamplingResult):
                return found
            raise TypeError(f"should_sample() returned {found!r}, which is no SamplingResult")
        except Exception:
            faults.report(f"sampler {type(sampler).__name__}")
            parent = contexts.current_span(where)
            state = None if parent is None else parent.get_span_context().trace_state
            return SamplingResult(_RECORD_AND_SAMPLE, attributes, state)

    def _fill(self, span: Span, attributes: Attributes, links: Sequence[Link]) -> None:
        try:
            if attributes:
                if len(attributes) > self.core.max_attributes:
                    span.set_attributes(attributes)
                else:
                    span._attributes = frozen_dict(attributes)
        except Exception:
            faults.report("engine: attributes")
        for link in links:
            span.add_link(link.context, link.attributes)

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
        if context is None and not links and start_time is None and end_on_exit:
            span._rare = None
        else:
            span._rare = RareArguments(context, links, start_time, end_on_exit)
        if not record_exception:
            span._record_exception = False
        if not set_status_on_exception:
            span._set_status_on_exception = False
        return span


def _valid(identity: SpanContext) -> SpanContext | None:
    return identity if identity.is_valid else None


def _with_detached(links: Sequence[Link] | None, where: Context) -> Sequence[Link] | None:
    """The links of a root, with one to what its context was detached from."""
    left = contexts.detached_from(where)
    return links if left is None else (*(links or ()), Link(left, {CAUSAL_LINK: "detached"}))


def _count(counts: SpanCounts, decision: Decision, local: LocalTrace, parent: SpanContext | None) -> None:
    """Count a span as started."""
    origin = "none" if parent is None else "remote" if parent.is_remote else "local"
    result = decision if local.buffered is None else _RECORD_ONLY
    counts.others[origin, result._name_] += 1
