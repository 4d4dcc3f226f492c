"""The short way through W3C's headers: whatever they say, it reads and writes what the API's propagators would."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from causal_otel.engine import carriers, w3c
from causal_otel.engine.provider import TracerProvider

THEIRS = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])

_hex = st.text("0123456789abcdef", min_size=1, max_size=2)
_part = st.one_of(_hex, st.sampled_from(["00", "ff", "0", "F0", " ", "-", "0" * 32, "0" * 16, "a" * 32, "b" * 16]))
_valid = st.builds(
    "{}-{:032x}-{:016x}-{:02x}{}".format,
    st.sampled_from(["00", "01", "cc", "ff"]),
    st.integers(0, 2**128 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 255),
    st.sampled_from(["", "-", "-more", "more", " ", "\t", "-00"]),
)
_traceparent = st.one_of(_valid, st.lists(_part, max_size=6).map("-".join), st.text(max_size=60))
_tracestate = st.sampled_from(["", "a=1", "a=1,b=2", "=,", "a=1" * 300, "A=1,b=", "a=1,a=2"])
_bag = st.sampled_from(["", "tenant=acme", "a=1;p=2, b=%20", "a=1,,b=", "=", "tenant"])


def _known(context: Context) -> tuple[SpanContext, dict[str, object]]:
    return trace.get_current_span(context).get_span_context(), dict(baggage.get_all(context))


@given(st.fixed_dictionaries({}, optional={"traceparent": _traceparent, "tracestate": _tracestate, "baggage": _bag}))
def test_what_is_read_is_what_the_api_reads(headers: dict[str, str]) -> None:
    """Parent, flags, trace state, whether it is remote, and baggage are equal, for any headers."""
    logging.disable(logging.WARNING)  # theirs warns of each malformed entry
    try:
        mine = w3c.read(headers, Context({"other": 1}), carriers._headers)
        theirs = THEIRS.extract(headers, Context({"other": 1}))
    finally:
        logging.disable(logging.NOTSET)
    assert _known(mine) == _known(theirs)
    assert mine.get("other") == 1


@given(
    st.integers(0, 2**128 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 255),
    st.sampled_from([None, TraceState([("a", "1")])]),
    st.dictionaries(st.sampled_from(["a", "b c"]), st.sampled_from(["1", "é"]), max_size=2),
)
def test_what_is_written_is_what_the_api_writes(
    trace_id: int, span_id: int, flags: int, state: TraceState | None, entries: dict[str, str]
) -> None:
    """A remote parent, valid or not, and baggage are written alike."""
    span = NonRecordingSpan(SpanContext(trace_id, span_id, True, TraceFlags(flags), state))
    context = trace.set_span_in_context(span, Context())
    for name, value in entries.items():
        context = baggage.set_baggage(name, value, context)
    mine: dict[str, str] = {}
    theirs: dict[str, str] = {}
    w3c.write(mine, context)
    THEIRS.inject(theirs, context)
    assert mine == theirs


def test_a_span_of_ours_is_written_as_the_api_writes_it() -> None:
    """Its trace, its id, the flags, and the trace state that it has from its parent."""
    provider = TracerProvider(resource=Resource({}))
    remote = NonRecordingSpan(SpanContext(5, 6, True, TraceFlags(1), TraceState([("vendor", "x")])))
    for parent in (Context(), trace.set_span_in_context(remote, Context())):
        span = provider.get_tracer("t").start_span("s", parent)
        context = trace.set_span_in_context(span, Context())
        mine: dict[str, str] = {}
        theirs: dict[str, str] = {}
        w3c.write(mine, context)
        THEIRS.inject(theirs, context)
        assert mine == theirs
        assert mine["traceparent"].split("-")[2] == f"{span.get_span_context().span_id:016x}"
    assert mine["tracestate"] == "vendor=x"
    nothing: dict[str, str] = {}
    w3c.write(nothing, Context())
    assert nothing == {}


def test_any_other_propagator_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more propagator, one fewer, a subclass, or another order: the short way is not gone."""

    class Mine(TraceContextTextMapPropagator):
        pass

    assert w3c.is_w3c(THEIRS)
    for parts in ([Mine(), W3CBaggagePropagator()], [Mine()], [W3CBaggagePropagator(), Mine()], []):
        other = CompositePropagator(parts)
        assert not w3c.is_w3c(other)
        monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", other)
        headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        found = trace.get_current_span(carriers.extracted(headers, Context())).get_span_context()
        assert found.is_valid is any(isinstance(part, Mine) for part in parts)
