"""W3C Trace Context and Baggage in headers, as the API's own propagators read and write them, by a shorter way.

Those look into every header by a getter and make each part anew, which costs a request more than its span. What they
make of headers is the rule: ``tests/engine/test_w3c.py`` compares. Where the global propagator is another one, it is
asked, as ever (see :mod:`causal_otel.engine.carriers`).

W3C Trace Context, level 2: https://www.w3.org/TR/trace-context-2/.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from causal_otel.engine.context import SPAN_KEY
from causal_otel.engine.span_data import SpanData
from causal_otel.engine.unsampled import UnsampledSpan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.propagators.textmap import Getter, TextMapPropagator
    from opentelemetry.trace import Span

__all__ = ["is_w3c", "read", "span_context", "traceparent", "write"]

_TRACEPARENT = re.compile("[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?[ \t]*$")
_BOTH = [TraceContextTextMapPropagator, W3CBaggagePropagator]
_FLAGS = {f"{number:02x}": TraceFlags(number) for number in range(256)}
_OURS = (SpanData, UnsampledSpan)  # as a union it would be made anew at each look
_trace_context = TraceContextTextMapPropagator()
_baggage = W3CBaggagePropagator()


def is_w3c(propagator: TextMapPropagator) -> bool:
    """Whether a propagator does just what this module does: the API's for ``tracecontext`` and ``baggage``."""
    if type(propagator) is not CompositePropagator:
        return False
    return [type(part) for part in getattr(propagator, "_propagators", ())] == _BOTH


def read(headers: Mapping[str, str], context: Context, getter: Getter[Any]) -> Context:
    """``context`` with the parent and the baggage that headers name.

    Args:
        headers: by their names in lower case.
        context: what else is current.
        getter: reads such headers for the API's propagators.
    """
    header = headers.get("traceparent")
    if header:
        if "tracestate" in headers:
            context = _trace_context.extract(headers, context, getter)
        else:
            parent = span_context(header)
            if parent is not None:
                context = Context({**context, SPAN_KEY: NonRecordingSpan(parent)})
    if "baggage" in headers:
        context = _baggage.extract(headers, context, getter)
    return context


def span_context(header: str) -> SpanContext | None:
    """The span that ``traceparent`` names; None: it is not valid."""
    found = _TRACEPARENT.match(header)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (more and version == "00"):
        return None
    trace, span = int(trace_id, 16), int(span_id, 16)
    return SpanContext(trace, span, True, _FLAGS[flags]) if trace and span else None


def traceparent(span: Span) -> str | None:
    """The header ``traceparent`` that names ``span``; None: it has no identity."""
    if isinstance(span, _OURS):
        trace = span._local_trace
        return f"00-{trace.trace_id:032x}-{span.span_id().hex()}-{trace.flags:02x}"
    found = span.get_span_context()
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}" if found.is_valid else None


def write(headers: dict[str, str], context: Mapping[str, Any]) -> None:
    """Write the span and the baggage of ``context`` into headers."""
    span = context.get(SPAN_KEY)
    if isinstance(span, _OURS):
        headers["traceparent"] = traceparent(span)  # type: ignore[arg-type, assignment]  # a span of ours
        state = span._local_trace.trace_state
        if state:
            headers["tracestate"] = state.to_header()
    elif span is not None:
        identity = span.get_span_context()
        if identity.is_valid:
            flags = identity.trace_flags
            headers["traceparent"] = f"00-{identity.trace_id:032x}-{identity.span_id:016x}-{flags:02x}"
            if identity.trace_state:
                headers["tracestate"] = identity.trace_state.to_header()
        else:
            _trace_context.inject(headers, context)  # type: ignore[arg-type]  # any mapping serves as a context
    if len(context) > (span is not None):
        _baggage.inject(headers, context)  # type: ignore[arg-type]
