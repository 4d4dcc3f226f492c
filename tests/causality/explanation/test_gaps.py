"""Gaps: where nothing traced ran on the critical path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.causality.explanation import Scene, gaps
from tests.causality.explanation.made import query, request, stall, task, view

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans


def _gaps(*spans: ResourceSpans) -> list[tuple[str, float, float, str]]:
    """Span, start and end in milliseconds from the trace's start, and label of each."""
    made = view(*spans)
    return [
        (each.span.name, (each.start - made.start) / 1e6, (each.end - made.start) / 1e6, each.label)
        for each in gaps(Scene(made))
    ]


def test_own_time_between_children_is_a_gap() -> None:
    """Before, between and after what is traced, a request's own time is a gap each; of what it did nothing is known."""
    found = _gaps(request(100), query("a", 20, 40), query("b", 60, 90))
    assert found == [
        ("POST /orders", 0, 20, "own code, nothing traced"),
        ("POST /orders", 40, 60, "own code, nothing traced"),
        ("POST /orders", 90, 100, "own code, nothing traced"),
    ]


def test_a_short_one_is_none() -> None:
    """What is shorter than 3 % of its time, or than a millisecond, is not worth a row."""
    assert _gaps(request(100), query("a", 2, 98)) == []
    assert _gaps(request(2), query("a", 0.9, 2)) == []


def test_measured_time_gives_it_its_name() -> None:
    """A thread that computed for as long as the gap was computing, one that did not was waiting."""
    computing = _gaps(request(100, {"causal.cpu": 0.09}), query("a", 0, 5))
    assert computing == [("POST /orders", 5, 100, "computing, nothing traced")]
    waiting = _gaps(request(100, {"causal.cpu": 0.002}), query("a", 0, 5))
    assert waiting == [("POST /orders", 5, 100, "waiting, nothing traced")]


def test_a_gap_tells_what_it_consists_of() -> None:
    """Shares of one gap are told together, longest first: when each was is not known."""
    made = view(request(100, {"causal.cpu": 0.02, "causal.loop.ready.wait": 0.01}))
    (gap,) = gaps(Scene(made))
    assert gap.details == "waiting 70 ms, computing 20 ms, waiting for its turn on the event loop 10 ms"
    assert gap.duration == 100_000_000


def test_calls_of_drivers_and_stalls_are_none() -> None:
    """What is traced is no gap, neither a query nor a stall of the event loop."""
    assert _gaps(request(100), query("a", 1, 40), stall("b", 40, 100)) == []


def test_a_stall_divides_it() -> None:
    """A stall in a request's own time leaves a gap before it and one after it."""
    found = _gaps(request(100, {"causal.loop.blocked": 0.05}), stall("b", 20, 70))
    assert found == [
        ("POST /orders", 0, 20, "own code, nothing traced"),
        ("POST /orders", 70, 100, "own code, nothing traced"),
    ]


def test_work_after_the_answer_has_its_own() -> None:
    """What came after the answer is measured by the time from then on; a wait in a queue is no gap."""
    found = _gaps(request(10), query("a", 0, 10), task("job", "root", 500, 600))
    assert found == [("job", 500, 600, "own code, nothing traced")]
