"""Spans that are counted without being read: the same is counted as in the traces that a collector would have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, set_span_in_context

import causal_otel
from causal_otel.causality.spans import CallSpan
from causal_otel.names import (
    CAUSAL_BLOCK_CPU,
    CAUSAL_CODE_ORIGIN,
    DB_OPERATION_NAME,
    DB_QUERY_TEXT,
    DB_SYSTEM_NAME,
    HTTP_REQUEST_METHOD,
    MESSAGING_SYSTEM,
    SERVER_ADDRESS,
    URL_TEMPLATE,
)
from causal_otel.testing import Traces
from causal_otel.testing.calls import is_external, is_query, is_timed, operation_above, shape
from causal_otel.testing.figures import figures
from causal_otel.testing.recording import Recording
from causal_otel.testing.unread import UnreadSpan
from tests.testing.traced import Suite, suite

_SECRET = "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"


@pytest.fixture
def shop() -> Iterator[Suite]:
    with suite() as made:
        yield made


_ATTRIBUTES: list[dict[str, Any]] = [
    {},
    {DB_SYSTEM_NAME: "postgresql", DB_QUERY_TEXT: "SELECT * FROM items WHERE id = $1", CAUSAL_CODE_ORIGIN: "shop.py:3"},
    {DB_SYSTEM_NAME: "mysql", DB_QUERY_TEXT: "SELECT * FROM items WHERE id IN (%s, %s)"},
    {DB_OPERATION_NAME: "SELECT"},
    {"db.system": "redis"},
    {MESSAGING_SYSTEM: "rabbitmq"},
    {HTTP_REQUEST_METHOD: "GET", SERVER_ADDRESS: "api.example.com", URL_TEMPLATE: "/orders/{id}"},
    {CAUSAL_BLOCK_CPU: 0.1},
]
_SPAN = st.tuples(
    st.integers(0, 12),
    st.sampled_from(SpanKind),
    st.sampled_from(["GET /orders", "SELECT items", "loop blocked", f"POST {_SECRET}"]),
    st.sampled_from(_ATTRIBUTES),
)


def _told(spans: Iterable[CallSpan]) -> Counter[tuple[object, ...]]:
    found: Counter[tuple[object, ...]] = Counter()
    for span in spans:
        above = operation_above(span)
        what = is_query(span), is_external(span), is_timed(span)
        found[span.span_id, span.name, span.duration, above and above.span_id, shape(span), *what] += 1
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # each example is a test of the suite
@given(made=st.lists(_SPAN, max_size=12))
def test_same_is_counted_without_reading(shop: Suite, made: list[tuple[int, SpanKind, str, dict[str, Any]]]) -> None:
    """Of any spans, whatever is below what, both ways tell the same operations, shapes and figures."""
    with shop.test() as traces:
        spans: list[Any] = []
        for parent, kind, name, attributes in made:
            above = set_span_in_context(spans[parent]) if parent < len(spans) else None
            spans.append(shop.tracer.start_span(name, above, kind, attributes))
        for span in spans:
            span.end()
    counted = traces.unread()
    assert all(type(span) is UnreadSpan for span in counted)
    assert _told(counted) == _told(traces.spans)
    assert figures(counted) == figures(traces.spans)


def test_parent_that_came_by_a_header_is_known(shop: Suite) -> None:
    """A request that the test's own client has sent is below its client's span, though only the header says so."""
    with shop.test() as traces, causal_otel.span("GET", kind=SpanKind.CLIENT):
        header: dict[str, str] = {}
        causal_otel.inject(header)
        with causal_otel.span("GET /orders", parent=causal_otel.extract(header), kind=SpanKind.SERVER):
            pass
    below = next(span for span in traces.unread() if span.name == "GET /orders")
    assert below.parent is not None
    assert below.parent.name == "GET"
    assert not any(map(is_external, traces.unread()))


def _read(traces: Traces) -> bool:
    """Whether what counts reads the traces."""
    return not all(type(span) is UnreadSpan for span in traces.unread())


def test_spans_that_end_later_are_counted(shop: Suite) -> None:
    """Each look is at what there is by then, and what is forgotten is not there."""
    with shop.test() as traces:
        for count in (1, 2):
            shop.tracer.start_span("SELECT items").end()
            assert len(traces.unread()) == count
        traces.clear()
        assert not traces.unread()


def test_spans_of_another_provider_are_read() -> None:
    """What the SDK has recorded is counted in traces that are read."""
    recorded, provider = Recording(), TracerProvider()
    recorded.begin()
    installed = causal_otel.install(patches=[], tracer_provider=provider)
    try:
        made = Suite(recorded, provider.get_tracer("tests"))
        with made.test() as traces, made.tracer.start_as_current_span("GET /orders"):
            pass
        assert _read(traces)
        assert [span.name for span in traces.unread()] == ["GET /orders"]
    finally:
        recorded.end()
        installed.uninstall()
        provider.shutdown()


def test_parent_that_began_after_its_child_is_read(shop: Suite) -> None:
    """Spans whose times say that one came before its parent are for what reads whole traces."""
    with shop.test() as traces, shop.tracer.start_as_current_span("GET /orders"):
        shop.tracer.start_span("SELECT items", start_time=1).end()
    assert _read(traces)
    assert figures(traces.unread()).spans == 2
