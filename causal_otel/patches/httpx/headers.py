"""The context that a request carries, in a copy of it: the caller's request and its headers stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from causal_otel.engine import carriers, context
from causal_otel.engine.context import SPAN_KEY
from causal_otel.engine.span import LeafSpan

if TYPE_CHECKING:
    from httpx import Headers, Request
    from opentelemetry.context import Context
    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.trace import Span

__all__ = ["Item", "carried", "copied", "items", "with_headers"]

Item = tuple[bytes, bytes, bytes]
"""A header as httpx keeps it: as it is sent, in lower case, and its value."""

_TRACEPARENT, _TRACESTATE = b"traceparent", b"tracestate"
_new = object.__new__

_latest: tuple[TextMapPropagator | None, bool] = None, False


def _is_w3c() -> bool:
    """Whether the global propagator is the default one, which writes W3C Trace Context and Baggage."""
    global _latest
    propagator = propagate.get_global_textmap()
    if _latest[0] is not propagator:
        inside = getattr(propagator, "_propagators", ()) if type(propagator) is CompositePropagator else ()
        kinds = {type(each) for each in inside}
        _latest = propagator, kinds == {TraceContextTextMapPropagator, W3CBaggagePropagator}
    return _latest[1]


def carried(where: Context, span: Span | None) -> list[Item]:
    """The headers that carry a context.

    The default propagator's are made here, in a quarter of its time, unless there is more than a span in the context,
    such as baggage.

    Args:
        where: the context.
        span: what is to be current in it; None: what is.
    """
    if (where and (len(where) > 1 or SPAN_KEY not in where)) or not _is_w3c():
        carrier = carriers.injected(where if span is None else context.with_span(span, where))
        return [(name.encode(), name.lower().encode(), value.encode()) for name, value in carrier.items()]
    found: Any = where.get(SPAN_KEY) if span is None else span
    if found is None:
        return []
    if type(found) is LeafSpan:  # whose identity is an object that is made when somebody asks for it
        trace = found._local_trace
        text = f"00-{trace.trace_id:032x}-{found.span_id().hex()}-{trace.flags:02x}"
        state = trace.trace_state
    else:
        identity = found.get_span_context()
        if not identity.is_valid:
            return []
        text = f"00-{identity.trace_id:032x}-{identity.span_id:016x}-{identity.trace_flags:02x}"
        state = identity.trace_state
    made = [(_TRACEPARENT, _TRACEPARENT, text.encode())]
    if state:
        made.append((_TRACESTATE, _TRACESTATE, state.to_header().encode()))
    return made


def copied(given: Headers, added: list[Item]) -> Headers:
    """A copy of headers, with others in place of those of the same names.

    Args:
        given: the headers, which stay as they are.
        added: what is added.
    """
    names = [name for _, name, _ in added]
    if _TRACEPARENT in names:
        names.append(_TRACESTATE)  # it belongs to a traceparent that is replaced
    kept: list[Item] | None = getattr(given, "_list", None)
    if kept is None:  # the list is private
        made = type(given)([item for item in given.raw if item[0].lower() not in names])
        for name, _, value in added:
            made[name.decode()] = value.decode()
        return made
    headers: Headers = _new(type(given))
    state = headers.__dict__
    state.update(given.__dict__)
    state["_list"] = [*[item for item in kept if item[1] not in names], *added]
    return headers


def items(headers: Any) -> list[Item]:
    """A snapshot of headers: of the private list, which costs less than public methods; empty if there is none."""
    return list(getattr(headers, "_list", ()))


def with_headers(request: Request, headers: Headers, extensions: dict[str, Any] | None = None) -> Request:
    """A copy of ``request`` that shares its body.

    Args:
        request: the request.
        headers: those of the copy.
        extensions: those of the copy; None: it shares the request's.
    """
    # Not copy.copy(): the state that a request gives for copying leaves its body out.
    made: Request = _new(type(request))
    state = made.__dict__
    state.update(request.__dict__)
    state["headers"] = headers
    if extensions is not None:
        state["extensions"] = extensions
    return made
