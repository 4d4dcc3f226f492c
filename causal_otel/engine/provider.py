"""The tracer provider: accepted wherever the SDK's is, and re-configured in place when installed again."""

from __future__ import annotations

import atexit
import sys
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, sampling
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import TraceFlags

from causal_otel.engine import faults, process
from causal_otel.engine.counts import SpanCounts
from causal_otel.engine.ids import RandomIds
from causal_otel.engine.local_trace import LocalTrace
from causal_otel.engine.processors import ContainedProcessors
from causal_otel.engine.sampling import DROPPED, RuleSampler
from causal_otel.engine.tracer import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import SpanKind
    from opentelemetry.util.types import Attributes

    from causal_otel.engine.keeping import HeldTrace, Keeper
    from causal_otel.engine.redaction import Redaction
    from causal_otel.engine.sampling import Verdict
    from causal_otel.engine.span import Span

__all__ = ["TracerProvider"]

_SAMPLED: Verdict = (TraceFlags.RANDOM_TRACE_ID | TraceFlags.SAMPLED, None)


class TracerProvider(SdkTracerProvider):
    """Makes our tracers; takes any SDK span processor, sampler and resource.

    The OpenTelemetry API lets a process set its global provider once. So the provider that
    :func:`causal_otel.install` sets stays, closed, after an uninstall, and :meth:`open` puts it back to work.

    Args:
        sampler: decides which spans are recorded; default: all, unless the parent was not.
        resource: what the spans are about; default: the SDK's detectors and environment variables.
        span_limits: how much one span may hold; default: the SDK's, from the environment.
    """

    processors: ContainedProcessors
    """Who is told when a span begins and ends."""
    quick: bool
    """Whether a child of a span that is sampled here can be started without asking or telling anybody."""
    quick_drop: bool
    """The same of a child of what is not sampled: there will be no span."""
    decide_root: Callable[[int, str, SpanKind, Mapping[str, Any] | None], Verdict] | None
    """Decides about a root by its trace id, name, kind and attributes; None: the sampler has to be asked."""
    keeper: Keeper | None
    """Where traces that are not sampled wait, should they turn out to be worth having; None: nowhere."""
    max_attributes: int
    """How many attributes a span may have; more than there can be, where there is no limit."""
    notes_starts: bool
    """Whether a processor wants to know when a span begins."""
    notes_endings: bool
    """Whether a processor wants to change a span that is about to end."""
    redaction: Redaction | None = None
    """Takes secrets out of what processors and exporters read of a span; None: there are none."""
    counts: SpanCounts
    """How many spans were started and have ended in this process."""
    deliver: Callable[[Span], None]
    """Takes the spans that have ended and are sampled. A processor that is alone may have a method ``take`` for them,
    which never raises, and settles what a span holds: see :meth:`~causal_otel.engine.span.Span.parent_id`."""

    def __init__(
        self,
        sampler: Sampler | None = None,
        resource: Resource | None = None,
        span_limits: SpanLimits | None = None,
    ) -> None:
        self._own_tracers: dict[InstrumentationScope, Tracer] = {}
        ids = RandomIds()
        self.processors = ContainedProcessors()
        super().__init__(
            sampler=sampler or sampling.DEFAULT_ON,
            resource=resource,
            active_span_processor=self.processors,
            id_generator=ids,
            span_limits=span_limits,
        )
        self.new_span_id = ids.quick(64)
        self.new_trace_id = ids.quick(128)
        self.closed = False
        self.counts = SpanCounts()
        self.keeper = None
        self._prepare()
        process.at_fork(in_child=self._begin_in_child)

    def _begin_in_child(self) -> None:
        self.counts = SpanCounts()
        self.keep_errors(self.keeper and self.keeper.again())

    @property
    def span_limits(self) -> SpanLimits:
        """How much one span may hold."""
        return self._span_limits

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> trace.Tracer:
        """The tracer of an instrumentation scope; the same one each time it is asked for."""
        if self._disabled:  # OTEL_SDK_DISABLED=true
            return trace.NoOpTracer()
        scope = InstrumentationScope(
            instrumenting_module_name or "", instrumenting_library_version or "", schema_url, attributes
        )
        # No lock: a garbage collection in here may run a finalizer that asks for a tracer on this very thread.
        return self._own_tracers.get(scope) or self._own_tracers.setdefault(scope, Tracer(self, scope))

    def open(
        self, sampler: Sampler, resource: Resource, span_limits: SpanLimits, redaction: Redaction | None = None
    ) -> None:
        """Work again after :meth:`shutdown`, with another configuration and no processors yet."""
        self.sampler = sampler
        self._resource = resource
        self._span_limits = span_limits
        self.redaction = redaction
        self._active_span_processor = self.processors = ContainedProcessors()
        self._atexit_handler = atexit.register(self.shutdown)
        self.closed = False
        self._prepare()

    def keep_errors(self, keeper: Keeper | None) -> None:
        """Hold traces that are not sampled back from now on, by ``keeper``; None: do not."""
        self.keeper = keeper
        self._prepare()

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Have ``span_processor`` told of all spans from now on."""
        super().add_span_processor(span_processor)
        self._prepare()

    def _prepare(self) -> None:
        """Work out once what every span would have to ask otherwise."""
        limit = self._span_limits.max_span_attributes
        self.max_attributes = sys.maxsize if limit is None else limit
        added = self.processors.added
        self.notes_starts = any(_overrides(each, "on_start") for each in added)
        self.quick = _repeats(self.sampler) and not self.notes_starts and not self.closed
        self.quick_drop = _drops(self.sampler) and not self.closed
        # Where nothing is sampled there is no short way for what is held back.
        never = self.sampler is sampling.ALWAYS_OFF and self.keeper is None and not self.closed
        self.decide_root = _root_rule(self.sampler) if self.quick or never else None
        self.notes_endings = any(_overrides(each, "_on_ending") for each in added)
        take = getattr(added[0], "take", None) if len(added) == 1 else None
        self.deliver = take or self.processors.on_end

    def new_trace(self, name: str, kind: SpanKind, attributes: Mapping[str, Any] | None) -> LocalTrace | None:
        """Begin a trace, as the sampler decides; None: the sampler, or a processor, wants to know more."""
        decide = self.decide_root
        if decide is None:
            return None
        trace_id = self.new_trace_id()
        flags, state = decide(trace_id, name, kind, attributes)
        if flags & TraceFlags.SAMPLED:
            self.counts.roots += 1
            self.counts.children -= 1  # as which it is about to be counted
            return LocalTrace(trace_id, flags, state)
        if self.keeper is None:
            shared = LocalTrace(trace_id, flags, state, 0)  # nobody will ask it for the time
        else:
            shared = LocalTrace(trace_id, flags, state)
            if self.hold(shared) is not None:
                return shared
        self.counts.dropped += 1
        return shared

    def hold(self, shared: LocalTrace) -> HeldTrace | None:
        """Record a trace that is not sampled, and hold it back; None: there is no room."""
        if self.keeper is not None:
            try:
                shared.held = self.keeper.hold(shared)
            except Exception:
                faults.report("engine: holding back")
            shared.recorded = shared.held is not None
        return shared.held

    def shutdown(self) -> None:
        """Let every processor finish; spans started from now on are not recorded."""
        if not self.closed:
            self.closed = True
            self.quick = self.quick_drop = False
            self.decide_root = None
            super().shutdown()


def _repeats(sampler: Sampler) -> bool:
    """Whether ``sampler`` samples every child of a span that is sampled here, and changes nothing about it."""
    if sampler is sampling.ALWAYS_ON or type(sampler) is RuleSampler:
        return True
    return (
        type(sampler) is sampling.ParentBased and getattr(sampler, "_local_parent_sampled", None) is sampling.ALWAYS_ON
    )


def _drops(sampler: Sampler) -> bool:
    """Whether ``sampler`` drops every child of what is not sampled, here or elsewhere."""
    if sampler is sampling.ALWAYS_OFF or type(sampler) is RuleSampler:
        return True
    never = ("_local_parent_not_sampled", "_remote_parent_not_sampled")
    return type(sampler) is sampling.ParentBased and all(
        getattr(sampler, name, None) is sampling.ALWAYS_OFF for name in never
    )


def _root_rule(sampler: Sampler) -> Callable[[int, str, SpanKind, Mapping[str, Any] | None], Verdict] | None:
    """What a sampler says of roots, where that can be known without its ceremony."""
    if type(sampler) is RuleSampler:
        return sampler.decide_root
    if type(sampler) is sampling.ParentBased:
        sampler = getattr(sampler, "_root", sampler)
    if sampler is sampling.ALWAYS_ON:
        return lambda trace_id, name, kind, attributes: _SAMPLED
    if sampler is sampling.ALWAYS_OFF:
        return lambda trace_id, name, kind, attributes: DROPPED
    return None


def _overrides(processor: SpanProcessor, method: str) -> bool:
    if method == "on_start" and type(processor) in (SimpleSpanProcessor, BatchSpanProcessor):
        return False  # they have one that does nothing
    return getattr(type(processor), method, None) is not getattr(SpanProcessor, method)
