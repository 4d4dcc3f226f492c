"""Where in a span's time its parts lie."""

from __future__ import annotations

from typing import Any

import pytest

from causal_otel.collector.analysis import Explained, build
from tests.causality.explanation.made import stall
from tests.collector.analysis.making import BEGIN, MS, TRACE_ID, span, trace

_Placed = dict[str, list[tuple[float, float]]]


def _placed(end: float, attributes: dict[str, Any], *stalls: tuple[float, float], service: str = "api") -> _Placed:
    """The stretches of each part of a span that starts at 0, in milliseconds, by its label."""
    root = span("root", end=1000)
    query = span("q", "root", 0, end, kind="client", attributes=attributes, service=service)
    records = [stall(f"s{number}", *each) for number, each in enumerate(stalls)]
    explained = Explained(build(trace(root, query, *records)))
    view = explained.view.span(query.scope_spans[0].spans[0].span_id.hex())
    assert view is not None
    return {
        each.part.label: [((start - BEGIN) / MS, (end - BEGIN) / MS) for start, end in each.stretches]
        for each in explained.parts(view)
    }


def test_parts_follow_each_other() -> None:
    """Waiting for a connection is first, then connecting, then the server."""
    found = _placed(100, {"causal.server": 0.05, "causal.pool.wait": 0.03, "causal.connect": 0.02})
    assert found == {"pool wait": [(0, 30)], "connect": [(30, 50)], "server": [(50, 100)]}


def test_reading_ends_the_span() -> None:
    """What nothing was measured of lies before the reading, not after it."""
    found = _placed(100, {"causal.server": 0.05, "causal.fetch": 0.02})
    assert found == {"server": [(0, 50)], "fetch": [(80, 100)]}


def test_queue_wait_ends_where_the_span_starts() -> None:
    """A wait before the span is before it."""
    assert _placed(100, {"causal.queue.wait": 0.4}) == {"queue wait": [(-400, 0)]}


def test_a_stall_lies_where_it_was() -> None:
    """Of a known stall the place is known, and other parts go on behind it."""
    found = _placed(100, {"causal.server": 0.06, "causal.loop.blocked": 0.04}, (30, 70))
    assert found == {"server": [(0, 30), (70, 100)], "loop blocked": [(30, 70)]}


def test_stalls_are_cut_at_the_span() -> None:
    """Only what lies within the span is drawn of a stall that went on after it."""
    assert _placed(100, {"causal.loop.blocked": 0.045}, (50, 90), (95, 300)) == {"loop blocked": [(50, 90), (95, 100)]}


def test_of_an_unknown_stall_the_amount_is_at_the_end() -> None:
    """Where no record of a stall is there, or one of another process only, it lies at the end."""
    wanted = {"server": [(0, 60)], "loop blocked": [(60, 100)]}
    attributes = {"causal.server": 0.06, "causal.loop.blocked": 0.04}
    assert _placed(100, attributes) == wanted
    assert _placed(100, attributes, (30, 70), service="other") == wanted


def test_of_stalls_that_are_partly_known_the_rest_is_at_the_end() -> None:
    """What a span says beyond the known stalls is added where there is room, from its end on."""
    found = _placed(100, {"causal.loop.blocked": 0.06}, (20, 30), (80, 95))
    assert found == {"loop blocked": [(20, 30), (50, 100)]}


def test_of_very_many_stalls_only_the_amount_is_shown() -> None:
    """They are not told apart, since each of them would be drawn in each span around it."""
    few = _placed(1000, {"causal.loop.blocked": 0.05}, *((number, number + 0.5) for number in range(100)))
    assert len(few["loop blocked"]) == 100
    many = _placed(1000, {"causal.loop.blocked": 0.06}, *((number, number + 0.5) for number in range(120)))
    assert many == {"loop blocked": [(940, 1000)]}


def test_who_says_nothing_of_a_stall_has_not_suffered() -> None:
    """A span in a thread of its own went on while the loop stood still."""
    assert _placed(100, {"causal.server": 0.1}, (30, 70)) == {"server": [(0, 100)]}


@pytest.mark.parametrize("beyond", [0.2, 1e9])
def test_parts_never_leave_the_span(beyond: float) -> None:
    """What is measured beyond the span's time is cut off, stalls included."""
    found = _placed(100, {"causal.server": beyond, "causal.loop.blocked": beyond}, (10, 20))
    stretches = [each for part in found.values() for each in part]
    assert min(start for start, _ in stretches) >= 0
    assert max(end for _, end in stretches) <= 100


def test_other_traces_are_asked_for_once_and_only_if_needed() -> None:
    """Spans without stalls need no other trace, and stalls of other traces are taken from those beside."""
    asked = []
    other = build(
        trace(span("hold", end=900, trace_id="b2" * 16), stall("s", 30, 70, parent="hold", trace_id="b2" * 16))
    )

    def beside() -> list[Any]:
        asked.append(TRACE_ID)
        return [other]

    view = build(
        trace(
            span("root", end=1000, attributes={"causal.server": 0.1}),
            span("q", "root", 0, 100, attributes={"causal.loop.blocked": 0.04}),
        )
    )
    explained = Explained(view, beside)
    root, query = view.spans
    assert [each.part.label for each in explained.parts(root)] == ["server"]
    assert explained.path("answer")
    assert asked == []
    for _ in range(2):
        (blocked,) = explained.parts(query)
        assert (blocked.known, blocked.stretches) == (True, ((BEGIN + 30 * MS, BEGIN + 70 * MS),))
    assert "loop blocked 40 ms by report.py:31 render()" in explained.explanation.sentence
    assert len(asked) == 1
