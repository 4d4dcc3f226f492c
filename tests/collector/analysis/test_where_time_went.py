"""Where the time inside a span went."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causal_otel.collector.analysis import Part, build, where_time_went
from tests.collector.analysis.making import MS, span, trace


def _parts(attributes: dict[str, Any], end: float = 10) -> list[Part]:
    return where_time_went(build(trace(span("a", end=end, attributes=attributes))).spans[0])


def test_parts_are_in_the_order_they_happen() -> None:
    """What was measured comes with its share, what is left as the rest."""
    parts = _parts({"causal.server": 0.005, "causal.pool.wait": 0.002, "causal.fetch": 0.001})
    assert [(each.label, each.duration / MS, each.share) for each in parts] == [
        ("pool wait", 2, 0.2), ("server", 5, 0.5), ("fetch", 1, 0.1), ("rest", 2, 0.2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "label"), [("causal.queue.wait", "queue wait"), ("causal.threadpool.wait", "thread wait")]
)
def test_a_queue_was_before(key: str, label: str) -> None:
    """Waiting in a queue, or for a thread, is no part of the span that ends it, and can take longer."""
    assert _parts({key: 3}) == [Part(key, label, 3_000 * MS, 0.0, before=True)]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("causal_otel.asyncpg", [Part("causal.threadpool.wait", "thread wait", 4 * MS, 0.0, before=True)]),
        (
            "causal_otel.asgi",
            [
                Part("causal.receive", "receive", 2 * MS, 0.2),
                Part("causal.threadpool.wait", "thread pool", 4 * MS, 0.4),
                Part("causal.send", "send", 1 * MS, 0.1),
                Part("rest", "rest", 3 * MS, 0.3),
            ],
        ),
    ],
)
def test_a_request_waits_for_a_thread_inside(scope: str, expected: list[Part]) -> None:
    """A request goes on while it waits for a thread; what is started by a job began after the job's wait."""
    waits = {"causal.threadpool.wait": 0.004}
    if scope == "causal_otel.asgi":
        waits |= {"causal.receive": 0.002, "causal.send": 0.001}
    made = span("a", attributes=waits)
    made.scope_spans[0].scope.name = scope
    assert where_time_went(build(trace(made)).spans[0]) == expected


@pytest.mark.parametrize("value", [0, 0.0, -1.0, float("nan"), float("inf"), "0.1", True, 1e-12])
def test_what_measures_nothing_is_no_part(value: Any) -> None:
    """Values that are no time are passed over, and without any there are no parts."""
    assert _parts({"causal.server": value, "causal.queue.wait": value}) == []


@given(
    st.dictionaries(
        st.sampled_from(["causal.pool.wait", "causal.connect", "causal.server", "causal.fetch", "causal.loop.blocked"]),
        st.floats() | st.integers(-(2**63), 2**63 - 1),
        min_size=1,
    ),
    st.integers(0, 100),
)
def test_parts_add_up_to_the_span(attributes: dict[str, Any], end: int) -> None:
    """Whatever was measured, the parts are the whole duration, and none is negative."""
    parts = _parts(attributes, end)
    if parts:
        assert sum(each.duration for each in parts) == end * MS
        assert sum(each.share for each in parts) == pytest.approx(1)
        assert all(0 < each.share <= 1 for each in parts)
