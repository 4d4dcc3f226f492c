"""What the message of a task carries for us, as it is read by whoever has received it.

Task protocol 2 makes attributes of a message's headers, and 1 keeps them apart, in a dict ``headers`` of the request.
Other tracers write into such a dict under protocol 2 as well (celery/celery#4875). What stands at the top comes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan

from causal_otel._internal import faults
from causal_otel.engine import carriers
from causal_otel.engine.context import SPAN_KEY
from causal_otel.engine.w3c import span_context

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from causal_otel.instrument.tracing import Tracing

__all__ = ["BEAT", "CHORD_SIZE", "FANOUT", "LINKS", "PUBLISHED", "carried", "context_of", "field", "replaced"]

PUBLISHED = "causal-published"
"""The header that says when a message was sent, in Unix seconds."""
LINKS = "causal-links"
"""The header that says what the attempt is linked to: ``role=traceparent``, separated by commas."""
BEAT = "causal-beat"
"""The header of what beat has sent."""
CHORD_SIZE = "causal-chord-size"
"""The header of the members of a chord's header that says how many there are, ``?`` where that is not known yet. One of
a chord inside another chord's header has the other's number too, after a space."""
FANOUT = "causal-fanout"
"""The header of a message that each of several workers gets, so that there are several attempts at it."""

_W3C = ("traceparent", "tracestate", "baggage")
_OURS = (PUBLISHED, LINKS, CHORD_SIZE, BEAT, FANOUT)
_NONE: dict[str, Any] = {}


def field(request: Mapping[str, Any], name: str) -> Any:
    """The value of a header; None: it is not there.

    Args:
        request: the message's headers and what Celery adds to them.
        name: the header's.
    """
    found = request.get(name)
    return _nested(request).get(name) if found is None else found


def _nested(request: Mapping[str, Any]) -> dict[str, Any]:
    found = request.get("headers")
    return found if isinstance(found, dict) else _NONE


def context_of(tracing: Tracing[Any], request: Mapping[str, Any]) -> Context:
    """The context that a message carries, with nothing of what is current here.

    Args:
        tracing: the patch's handle.
        request: the message's headers and what Celery adds to them.
    """
    w3c = carriers.is_w3c()
    header = request.get("traceparent")
    if w3c and type(header) is str and not ("tracestate" in request or "baggage" in request):  # as nearly always
        identity = span_context(header)
        if identity is not None:
            return {SPAN_KEY: NonRecordingSpan(identity)}  # type: ignore[return-value]  # a plain dict serves
    nested = _nested(request)
    if not w3c:
        texts = {key: value for key, value in {**nested, **request}.items() if isinstance(value, str)}
        tracing.border.admit(texts)
        return carriers.extract(texts, Context())
    source = nested if "traceparent" not in request and "traceparent" in nested else request
    fields = {}
    for name in _W3C:
        value = source.get(name)
        if isinstance(value, str):
            fields[name] = value
    if "baggage" in fields:
        tracing.border.admit(fields)
    return carriers.extracted(fields, Context()) if fields else Context()


def carried(request: Mapping[str, Any]) -> dict[str, str]:
    """The headers of a message that name its parent, as they came."""
    fields = {name: field(request, name) for name in _propagated() if name != "baggage"}
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def replaced(headers: Mapping[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """The headers of a message that is sent, with our fields. Stale ones go, at both levels, and foreign ones stay.

    Args:
        headers: what the caller gives, or the attempt that is retried. Neither they nor what is in them is changed.
        fields: what the message is to carry for us.
    """
    ours = (*_propagated(), *_OURS)
    found = {**_without(headers, ours), **fields}
    nested = found.get("headers")
    if isinstance(nested, dict) and any(name in nested for name in ours):
        found["headers"] = {**_without(nested, ours), **fields}
    return found


def _without(headers: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name, value in headers.items() if name not in names}


def _propagated() -> Iterable[str]:
    """The headers that the global propagator writes."""
    if carriers.is_w3c():
        return _W3C
    from opentelemetry.propagate import get_global_textmap

    propagator = get_global_textmap()
    try:
        return tuple(propagator.fields)
    except Exception:
        faults.report("propagator: fields")
        return _W3C
