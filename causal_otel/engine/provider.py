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

from causal_otel.engine.core import Core
from causal_otel.engine.ids import RandomIds
from causal_otel.engine.processors import ContainedProcessors
from causal_otel.engine.samplers import DROPPED, RuleSampler
from causal_otel.engine.tracer import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import SpanKind
    from opentelemetry.util.types import Attributes

    from causal_otel.engine.redaction import Redaction
    from causal_otel.engine.retroactive import Buffer
    from causal_otel.engine.samplers import Verdict

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

    core: Core
    """What its spans share."""

    def __init__(
        self,
        sampler: Sampler | None = None,
        resource: Resource | None = None,
        span_limits: SpanLimits | None = None,
    ) -> None:
        self._own_tracers: dict[InstrumentationScope, Tracer] = {}
        ids = RandomIds()
        self.core = Core(ids)
        self._processors = ContainedProcessors()
        self._tap: Callable[[Any], None] | None = None
        super().__init__(
            sampler=sampler or sampling.DEFAULT_ON,
            resource=resource,
            active_span_processor=self._processors,
            id_generator=ids,
            span_limits=span_limits,
        )
        self._prepare()

    @property
    def span_limits(self) -> SpanLimits:
        """How much one span may hold."""
        return self._span_limits

    @property
    def closed(self) -> bool:
        """Whether it was shut down, and not opened again."""
        return self.core.closed

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
        return self._own_tracers.get(scope) or self._own_tracers.setdefault(scope, Tracer(self.core, scope))

    def open(
        self, sampler: Sampler, resource: Resource, span_limits: SpanLimits, redaction: Redaction | None = None
    ) -> None:
        """Work again after :meth:`shutdown`, with another configuration and no processors yet."""
        self.sampler = sampler
        self._resource = resource
        self._span_limits = span_limits
        self._active_span_processor = self._processors = ContainedProcessors()
        self._tap = None
        self._atexit_handler = atexit.register(self.shutdown)
        self.core.redaction = redaction
        self.core.closed = False
        self._prepare()

    def set_buffer(self, buffer: Buffer | None) -> None:
        """Buffer traces that are not sampled from now on, in ``buffer``; None: do not."""
        self.core.buffer = buffer
        self._prepare()

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Have ``span_processor`` told of all spans from now on."""
        super().add_span_processor(span_processor)
        self._prepare()

    @property
    def span_processors(self) -> tuple[SpanProcessor, ...]:
        """Who is told of its spans, in the order they were added."""
        return self._processors.added

    def record_with(
        self, sampler: Sampler, processors: tuple[SpanProcessor, ...], tap: Callable[[Any], None] | None = None
    ) -> None:
        """Have ``sampler`` decide, and these processors alone told, from now on. What is replaced goes on as it is.

        Args:
            sampler: instead of the one before.
            processors: instead of those before.
            tap: is given each ended span before all of them, while its parent is known as an object. Never raises.
        """
        self.sampler = sampler
        self._processors.replace(processors)
        self._tap = tap
        self._prepare()

    def _prepare(self) -> None:
        """Copy the configuration to the core, with all that follows from it, so that no span has to work it out."""
        core, sampler, added = self.core, self.sampler, self._processors.added
        core.sampler = sampler
        core.resource = self._resource
        core.span_limits = self._span_limits
        limit = self._span_limits.max_span_attributes
        core.max_attributes = sys.maxsize if limit is None else limit
        core.processors = self._processors
        core.has_on_start = any(_overrides(each, "on_start") for each in added)
        core.has_on_ending = any(_overrides(each, "_on_ending") for each in added)
        core.deliver = (getattr(added[0], "take", None) if len(added) == 1 else None) or self._processors.on_end
        if self._tap is not None:
            told = any(_overrides(each, "on_end") for each in added)
            core.deliver = _both(self._tap, core.deliver) if told else self._tap
        core.fast_child = _repeats(sampler) and not core.has_on_start and not core.closed
        core.fast_remote = core.fast_child and _repeats_remote(sampler)
        core.fast_drop = _drops(sampler) and not core.closed
        core.drops_roots = _root_sampler(sampler) is sampling.ALWAYS_OFF and core.buffer is None
        # With ALWAYS_OFF a root can be dropped without asking the sampler, unless a buffer may keep it.
        never = sampler is sampling.ALWAYS_OFF and core.buffer is None and not core.closed
        core.decide_root = _root_rule(sampler) if core.fast_child or never else None

    def _update_resource(self, resource: Resource) -> None:  # the SDK's, in a forked child
        super()._update_resource(resource)
        self.core.resource = self._resource

    def shutdown(self) -> None:
        """Let every processor finish; spans started from now on are not recorded."""
        if not self.core.closed:
            self.core.closed = True
            self._prepare()
            super().shutdown()


def _repeats(sampler: Sampler) -> bool:
    """Whether ``sampler`` samples every child of a span that is sampled here, and changes nothing about it."""
    if sampler is sampling.ALWAYS_ON or type(sampler) is RuleSampler:
        return True
    return (
        type(sampler) is sampling.ParentBased and getattr(sampler, "_local_parent_sampled", None) is sampling.ALWAYS_ON
    )


def _repeats_remote(sampler: Sampler) -> bool:
    """The same of a span that is sampled in another process, for a sampler that :func:`_repeats`."""
    always = sampling.ALWAYS_ON
    return type(sampler) is not sampling.ParentBased or getattr(sampler, "_remote_parent_sampled", None) is always


def _drops(sampler: Sampler) -> bool:
    """Whether ``sampler`` drops every child of what is not sampled, here or elsewhere."""
    if sampler is sampling.ALWAYS_OFF or type(sampler) is RuleSampler:
        return True
    never = ("_local_parent_not_sampled", "_remote_parent_not_sampled")
    return type(sampler) is sampling.ParentBased and all(
        getattr(sampler, name, None) is sampling.ALWAYS_OFF for name in never
    )


def _root_sampler(sampler: Sampler) -> Sampler:
    """The sampler that is asked of roots."""
    return getattr(sampler, "_root", sampler) if type(sampler) is sampling.ParentBased else sampler


def _root_rule(sampler: Sampler) -> Callable[[int, str, SpanKind, Mapping[str, Any] | None], Verdict] | None:
    """Decides about roots as ``sampler`` does, without a ``SamplingResult``; None: the sampler has to be asked."""
    if type(sampler) is RuleSampler:
        return sampler.decide_root
    sampler = _root_sampler(sampler)
    if sampler is sampling.ALWAYS_ON:
        return lambda trace_id, name, kind, attributes: _SAMPLED
    if sampler is sampling.ALWAYS_OFF:
        return lambda trace_id, name, kind, attributes: DROPPED
    return None


def _both(first: Callable[[Any], None], then: Callable[[Any], None]) -> Callable[[Any], None]:
    def deliver(span: Any) -> None:
        first(span)
        then(span)

    return deliver


def _overrides(processor: SpanProcessor, method: str) -> bool:
    if method == "on_start" and type(processor) in (SimpleSpanProcessor, BatchSpanProcessor):
        return False  # they have one that does nothing
    return getattr(type(processor), method, None) is not getattr(SpanProcessor, method)
