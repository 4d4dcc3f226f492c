"""What stands for a span where there is none: because the sampler has said no, or because it was excluded."""

from __future__ import annotations

from random import SystemRandom
from typing import TYPE_CHECKING

from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from causal_otel.engine.local_trace import LocalTrace
from causal_otel.engine.retroactive import KEEP_KEY
from causal_otel.engine.threshold import with_threshold

if TYPE_CHECKING:
    from causal_otel.engine.core import Core

__all__ = ["ExcludedSpan", "UnsampledSpan"]

_bits = SystemRandom().getrandbits  # for traces of any provider; neither a fork nor a seed makes it repeat ids


class UnsampledSpan(NonRecordingSpan):
    """What is current in a trace that is not sampled here: an identity, made when somebody asks for it."""

    __slots__ = ("_core", "_id", "_local_trace")

    def __init__(self, local: LocalTrace, core: Core) -> None:
        self._local_trace = local
        self._core = core
        self._id: bytes | None = None

    def span_id(self) -> bytes:
        """Its id as W3C writes it, drawn when somebody first asks."""
        found = self._id
        if found is None:
            drawn = self._core.new_span_id().to_bytes(8, "big")
            # If threads race, the first store wins, as in SpanData.span_id().
            found = self._id = self._id or drawn
        return found

    @property
    def _context(self) -> SpanContext:  # type: ignore[override]  # where its base class keeps it
        extras = self.__dict__
        found = extras.get("_own_context")
        if found is None:
            local = self._local_trace
            span_id = int.from_bytes(self.span_id(), "big")
            identity = SpanContext(local.trace_id, span_id, False, TraceFlags(local.flags), local.trace_state)
            found = extras.setdefault("_own_context", identity)  # one step: all threads get the same
        return found  # type: ignore[no-any-return]


class ExcludedSpan(NonRecordingSpan):
    """What is current where nothing is to be recorded, whatever the sampler is and whether errors are kept.

    It carries a trace on as one that is not sampled, so that other processes do not record their part either. Its span
    id is its own, as W3C Trace Context asks of whoever changes the flag.

    Args:
        parent: of the trace that is carried on; None: a new one.
    """

    def __init__(self, parent: SpanContext | None) -> None:
        if parent is None or not parent.is_valid:
            trace_id, flags, state = _bits(128) or 1, TraceFlags.RANDOM_TRACE_ID, None
        else:
            trace_id, flags = parent.trace_id, parent.trace_flags & TraceFlags.RANDOM_TRACE_ID
            state = _without_keep(parent.trace_state)
        self._local_trace = LocalTrace(trace_id, flags, state, 0)
        super().__init__(SpanContext(trace_id, _bits(64) or 1, False, TraceFlags(flags), state))


def _without_keep(state: TraceState | None) -> TraceState | None:
    """The trace state without a threshold, and without the request to keep the trace."""
    rest = with_threshold(state, None)
    return rest.delete(KEEP_KEY) if rest and KEEP_KEY in rest else rest
