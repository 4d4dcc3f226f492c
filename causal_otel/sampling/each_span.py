"""The sampler ``jaeger_remote``: rules for every span, whatever its parent was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.sampling import Decision, SamplingResult
from opentelemetry.trace import SpanKind, TraceFlags

from causal_otel.engine.context import current_span
from causal_otel.engine.sampling import RuleSampler
from causal_otel.engine.threshold import member, randomness, with_threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, TraceState
    from opentelemetry.util.types import Attributes

__all__ = ["EachSpanSampler"]


class EachSpanSampler(RuleSampler):
    """Decides every span by rules, and by its trace's randomness."""

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See :class:`opentelemetry.sdk.trace.sampling.Sampler`."""
        span = current_span(parent_context)
        parent = None if span is None else span.get_span_context()
        state = parent.trace_state if parent is not None and parent.is_valid else None
        flags, own = self.decide_root(randomness(trace_id, state), name, kind or SpanKind.INTERNAL, attributes)
        kept = bool(flags & TraceFlags.SAMPLED)
        decision = Decision.RECORD_AND_SAMPLE if kept else Decision.DROP
        threshold = member(own).threshold if kept else None
        return SamplingResult(decision, attributes if kept else None, with_threshold(state, threshold))

    def get_description(self) -> str:
        """Names the sampler."""
        return f"EachSpan{super().get_description()}"
