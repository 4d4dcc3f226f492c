"""What all spans of a provider share, below everything that makes or ends a span.

Imports point one way: span → core, block and tracer → span and core, provider → tracer and core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, TraceFlags

from causal_otel._internal import faults, process
from causal_otel.engine.counts import SpanCounts
from causal_otel.engine.local_trace import LocalTrace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits, SynchronousMultiSpanProcessor
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanKind

    from causal_otel.engine.ids import RandomIds
    from causal_otel.engine.redaction import Redaction
    from causal_otel.engine.retroactive import Buffer, BufferedTrace
    from causal_otel.engine.samplers import Verdict

__all__ = ["BaseTracer", "Core"]


_SAMPLED = TraceFlags.SAMPLED
_KNOWN = TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID


class Core:
    """What all spans of a provider share. The provider sets it; tracers, blocks and spans read it at each use.

    Attributes:
        closed: whether nothing is recorded any more, since the provider was shut down.
        counts: how many spans were started and have ended in this process.
        decide_root: decides about a root by its trace id, name, kind and attributes, without the sampler; None: ask the
            sampler.
        drops_roots: whether no trace that begins here is ever recorded or buffered.
        deliver: takes the spans that have ended and are sampled: the method ``take`` of the only processor, if it has
            one, else ``on_end`` of all of them. ``take`` never raises, and calls
            :meth:`~causal_otel.engine.span.Span.parent_id`, so that chains of spans can be freed.
        fast_child: whether a child of a span that is sampled here can be started without asking or telling anybody.
        fast_drop: whether a child of what is not sampled can be dropped without asking or telling anybody.
        fast_remote: whether a child of a span that is sampled in another process can be started likewise.
        has_on_ending: whether a processor wants to change a span that is about to end.
        has_on_start: whether a processor wants to know when a span begins.
        id_generator: makes the ids.
        long_span: told of each span that took a millisecond or more, and of when it ends by ``perf_counter_ns()``, just
            before it does; on the thread that ends it. Never raises. None: nobody is told.
        buffer: holds traces that are not sampled until it is known whether they fail or take long; None: they are
            dropped.
        max_attributes: how many attributes a span may have; ``sys.maxsize``: there is no limit.
        new_span_id: makes a span id, without a Python frame.
        new_trace_id: makes a trace id, likewise.
        processors: who is told when a span begins and ends.
        redaction: takes secrets out of what processors and exporters read of a span; None: nothing does.
        resource: what the spans are about.
        sampler: decides which spans are recorded.
        span_limits: how much one span may hold.
    """

    __slots__ = (
        "__weakref__",
        "buffer",
        "closed",
        "counts",
        "decide_root",
        "deliver",
        "drops_roots",
        "fast_child",
        "fast_drop",
        "fast_remote",
        "has_on_ending",
        "has_on_start",
        "id_generator",
        "long_span",
        "max_attributes",
        "new_span_id",
        "new_trace_id",
        "processors",
        "redaction",
        "resource",
        "sampler",
        "span_limits",
    )

    resource: Resource
    sampler: Sampler
    span_limits: SpanLimits
    max_attributes: int
    processors: SynchronousMultiSpanProcessor
    deliver: Callable[[Any], None]
    has_on_start: bool
    has_on_ending: bool
    fast_child: bool
    drops_roots: bool
    fast_drop: bool
    fast_remote: bool
    decide_root: Callable[[int, str, SpanKind, Mapping[str, Any] | None], Verdict] | None

    def __init__(self, ids: RandomIds) -> None:
        self.id_generator = ids
        self.new_span_id = ids.drawer(64)
        self.new_trace_id = ids.drawer(128)
        self.counts = SpanCounts()
        self.buffer: Buffer | None = None
        self.redaction: Redaction | None = None
        self.long_span: Callable[[Any, int], None] | None = None
        self.closed = False
        process.at_fork(in_child=self._begin_in_child)

    def _begin_in_child(self) -> None:
        self.counts = SpanCounts()
        if self.buffer is not None:
            self.buffer = self.buffer.empty_copy()

    def new_trace(self, name: str, kind: SpanKind, attributes: Mapping[str, Any] | None) -> LocalTrace | None:
        """Begin a trace, as the sampler decides; None: the sampler or a processor has to be asked or told."""
        decide = self.decide_root
        if decide is None:
            return None
        trace_id = self.new_trace_id()
        flags, state = decide(trace_id, name, kind, attributes)
        if flags & TraceFlags.SAMPLED:
            self.counts.fast_roots += 1
            return LocalTrace(trace_id, flags, state)
        if self.buffer is None:
            local = LocalTrace(trace_id, flags, state, 0)  # no span needs its clock
        else:
            local = LocalTrace(trace_id, flags, state)
            if self.begin_buffering(local) is not None:
                return local
        self.counts.dropped_roots += 1
        return local

    def continued(self, parent: trace.Span) -> LocalTrace | None:
        """Go on with a trace of another process as the sampler decides; None: somebody has to be asked or told.

        Args:
            parent: stands for a span of that process.
        """
        if type(parent) is not NonRecordingSpan or self.buffer is not None:
            return None
        trace_id, _, is_remote, flags, state, is_valid = parent.get_span_context()  # each property is a call
        sampled = flags & _SAMPLED
        if not (self.fast_remote if sampled else self.fast_drop) or not is_valid or not is_remote:
            return None
        self.counts.others["remote", "RECORD_AND_SAMPLE" if sampled else "DROP"] += 1
        return LocalTrace(trace_id, flags & _KNOWN, state or None, None if sampled else 0)

    def begin_buffering(self, local: LocalTrace) -> BufferedTrace | None:
        """Record a trace that is not sampled, into the buffer; None: there is no room."""
        buffered: BufferedTrace | None = None
        if self.buffer is not None:
            try:
                buffered = self.buffer.add(local)
            except Exception:
                faults.report("engine: buffering")
            local.buffered = buffered
            local.recorded = buffered is not None
        return buffered


class BaseTracer(trace.Tracer):
    """What the spans of one tracer share: the type by which a span knows its tracer.

    Attributes:
        core: what they share with those of all other tracers of the provider.
        instrumentation_scope: who makes them.
    """

    def __init__(self, core: Core, scope: InstrumentationScope) -> None:
        self.core = core
        self.instrumentation_scope = scope
