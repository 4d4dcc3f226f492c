"""The critical path: what a span was waiting for, nanosecond by nanosecond."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from causal_otel.causality.critical_path import Until, critical_path, time_on_path
from causal_otel.collector.analysis import build
from tests.causality import traces as plain
from tests.collector.analysis.making import BEGIN, MS, TRACES, pairs, span, trace

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, TracesData


def _path(*spans: ResourceSpans, until: Until = "answer") -> list[tuple[str, float, float]]:
    segments = critical_path(build(trace(*spans)), until=until)
    return [
        (
            f"until {each.span.name}" if each.waiting else each.span.name,
            (each.start - BEGIN) / MS,
            (each.end - BEGIN) / MS,
        )
        for each in segments
    ]


def test_calls_one_after_the_other_are_all_on_the_path() -> None:
    """Between its children the time is the parent's own."""
    assert _path(span("root", end=10), span("a", "root", 1, 4), span("b", "root", 5, 9)) == [
        ("root", 0, 1), ("a", 1, 4), ("root", 4, 5), ("b", 5, 9), ("root", 9, 10),
    ]  # fmt: skip


def test_of_parallel_calls_the_last_to_end_is_on_the_path() -> None:
    """What ran beside it and ended sooner held up nothing."""
    assert _path(
        span("root", end=10), span("a", "root", 1, 6), span("b", "root", 1, 9), span("c", "root", 2, 8)
    ) == [("root", 0, 1), ("b", 1, 9), ("root", 9, 10)]  # fmt: skip


def test_a_call_is_divided_like_the_whole() -> None:
    """The path goes down into each child that is on it."""
    assert _path(span("root", end=10), span("a", "root", 2, 8), span("a1", "a", 3, 5), span("a2", "a", 4, 7)) == [
        ("root", 0, 2), ("a", 2, 4), ("a2", 4, 7), ("a", 7, 8), ("root", 8, 10),
    ]  # fmt: skip


def test_nobody_waits_for_what_outlives_its_parent() -> None:
    """A task that goes on after the answer is not on the path, nor is one that was detached and happens to be quick."""
    detached = [Span.Link(attributes=pairs({"causal.link": "detached"}))]
    assert _path(
        span("root", end=10),
        span("task", "root", 1, 20),
        span("quick", "root", 8, 9, links=detached),
        span("a", "root", 2, 4),
    ) == [("root", 0, 2), ("a", 2, 4), ("root", 4, 10)]


@pytest.mark.parametrize("until", ["answer", "end"])
def test_nobody_waits_for_what_says_that_a_connection_is_open(until: Until) -> None:
    """The spans of an open connection's intervals are on no path, whose time is what was done meanwhile."""
    opened = {"causal.open": True}
    view = build(
        trace(
            span("socket", end=20),
            span("open1", "socket", 0, 10, attributes=opened),
            span("open2", "socket", 10, 19, attributes=opened),
            span("query", "socket", 4, 6),
        )
    )
    assert [(each.span.name, each.duration // MS) for each in critical_path(view, until=until)] == [
        ("socket", 4), ("query", 2), ("socket", 14),
    ]  # fmt: skip
    assert view.spans[0].self_time == 18 * MS
    assert [each.name for each in view.spans if each.open_only] == ["open1", "open2"]


def test_a_server_is_waited_for_until_its_client_ends() -> None:
    """A server's span that ends after its client's is on the path up to there, and what it was doing then."""
    assert _path(
        span("call", end=10, kind="client"),
        span("serve", "call", 2, 12, kind="server", service="shop"),
        span("query", "serve", 5, 11, service="shop"),
    ) == [("call", 0, 2), ("serve", 2, 5), ("query", 5, 10)]


def test_clocks_that_disagree_hide_what_lies_outside() -> None:
    """Of a child that starts before its parent only the part within counts."""
    assert _path(span("root", end=10), span("a", "root", -5, 3), span("b", "root", -9, -8)) == [
        ("a", 0, 3),
        ("root", 3, 10),
    ]


def test_until_the_end_all_work_is_waited_for() -> None:
    """What goes on after its parent, detached or not, is on the path to the end of all work, and its children are."""
    detached = [Span.Link(attributes=pairs({"causal.link": "detached"}))]
    spans = [
        span("root", end=10),
        span("task", "root", 1, 20, links=detached),
        span("query", "task", 12, 15),
        span("a", "root", 0, 4),
    ]
    assert _path(*spans) == [("a", 0, 4), ("root", 4, 10)]
    assert _path(*spans, until="end") == [("a", 0, 1), ("task", 1, 12), ("query", 12, 15), ("task", 15, 20)]


def test_until_the_end_a_queue_is_waited_for() -> None:
    """Where nothing runs between a message's sending and its being worked on, the consumer's start is waited for."""
    assert _path(
        span("root", end=10),
        span("send", "root", 4, 6, kind="producer"),
        span("work", "send", 30, 40, kind="consumer", service="worker"),
        span("nothing", "work", 45, 45, service="worker"),
        until="end",
    ) == [("root", 0, 4), ("send", 4, 6), ("until work", 6, 30), ("work", 30, 40), ("until nothing", 40, 45)]


def test_until_the_end_several_roots_are_one_work() -> None:
    """Spans whose parents are missing are part of all work; what ran beside the path fills the time before it."""
    spans = [span("root", end=5), span("orphan", "gone", 3, 10), span("late", "gone", 12, 14)]
    assert _path(*spans) == [("root", 0, 5)]
    assert _path(*spans, until="end") == [("root", 0, 3), ("orphan", 3, 10), ("until late", 10, 12), ("late", 12, 14)]


def test_any_span_can_be_explained() -> None:
    """The path of a span that is not the root is that of its own time."""
    view = build(trace(span("root", end=10), span("a", "root", 2, 8), span("a1", "a", 3, 5)))
    segments = critical_path(view, view.spans[1])
    assert time_on_path(segments) == {view.spans[1]: 4 * MS, view.spans[2]: 2 * MS}


def test_a_trace_without_spans_has_no_path() -> None:
    """Nothing takes no time."""
    assert _path() == []


def test_every_segment_says_how_the_path_came_to_its_span() -> None:
    """The end, a parent, an edge, a guess, and what is below that, or a link."""
    made = plain.trace(
        "a 0-10 #1 | b<a 2-8 | c<b 3-4 | d<a 8-9 #2 | e<d 8-9 | s<a 9-10 producer | x<s 10-14 consumer @w"
        " | y<s 20-30 consumer @w retry:x"
    )
    assert {each.span.name: each.via for each in critical_path(made)} == {
        "a": "end", "b": "edge", "c": "edge", "e": "heuristic", "s": "edge",
    }  # fmt: skip
    assert {each.span.name: each.via for each in critical_path(made, until="end")} == {
        "a": "end", "b": "edge", "c": "edge", "e": "heuristic", "s": "end", "x": "link", "y": "end",
    }  # fmt: skip
    made = plain.trace("r 0-4 | x<r 1-3 consumer | y 6-9 consumer retry:x")
    assert {each.span.name: each.via for each in critical_path(made, until="end")} == {
        "r": "parent", "x": "link", "y": "end",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("sender:s/a", "r 0-2, s& 2-3, until w 3-20, w 20-30"),
        ("reschedule:t/a", "r 0-2, s~ 2-3, r 3-4, t& 4-8, until w 8-20, w 20-30"),
        ("detached:r/a", "r& 0-2, s~ 2-3, r& 3-4, t~ 4-8, r& 8-9, late? 9-10, until w 10-20, w 20-30"),
        (":s/a", "r 0-2, s& 2-3, until w 3-20, w 20-30"),
        ("sender:late/a", "r 0-2, s~ 2-3, r 3-4, t~ 4-8, r 8-9, late& 9-20, w 20-30"),
        ("sender:s/elsewhere", "w 20-30"),
        ("group:s/a", "w 20-30"),
    ],
)
def test_a_link_leads_to_another_trace_that_is_given(link: str, expected: str) -> None:
    """To the end of the whole trace, it begins where that of the other trace does which has started it."""
    other = plain.trace("r 0-10 | s<r 2-3 producer | t<r 4-8 consumer | late<r 9-40", "a")
    made = plain.trace(f"w 20-30 consumer {link}", "b")
    assert plain.path(critical_path(made, until="end", others=[other, made])) == expected
    assert plain.path(critical_path(made, until="end")) == "w 20-30"
    assert plain.path(critical_path(made, others=[other])) == "w 20-30"


def test_a_chord_leads_to_members_in_other_traces() -> None:
    """Its body waited for the last of them, in whichever trace."""
    others = [plain.trace("p 0-5 | m1<p 2-4", "a"), plain.trace("q 1-9 | m2<q 3-8", "b"), plain.trace("x 0-90", "c")]
    made = plain.trace("body 20-30 chord-header:m1/a chord-header:m2/b chord-header:m3/gone", "d")
    assert plain.path(critical_path(made, until="end", others=others)) == "q 1-3, m2& 3-8, until body 8-20, body 20-30"


def test_a_span_is_explained_by_tasks_that_others_have_started() -> None:
    """Within its own time, it waited for them; what is above it is not on its path."""
    made = plain.trace("main 0-14 | q<main 0-6 | y<main 6-10 #2>3 | x<main 4-12 #3>1")
    assert plain.path(critical_path(made)) == "q 0-6, y 6-10, x 10-12, main 12-14"
    assert plain.path(critical_path(made, made.span("x"))) == "x 4-6, y 6-10, x 10-12"
    assert plain.path(critical_path(made, made.span("q"))) == "q 0-6"


def test_a_span_is_explained_to_the_end_of_all_that_is_below_it() -> None:
    """What goes on below it is waited for, what is beside it is not."""
    made = plain.trace("a 0-50 | b<a 5-10 | c<b 8-20 | d<a 11-40")
    assert plain.path(critical_path(made, made.span("b"), until="end")) == "b 5-8, c 8-20"


def test_segments_are_drawn_by_the_clock_of_their_span() -> None:
    """The path is by one clock, and a server's part of it is where its own times are."""
    made = plain.trace("a 0-10 client | b<a -48--42 server @shop ~50")
    assert [(each.span.name, each.local_start, each.local_end) for each in critical_path(made)] == [
        ("a", 0, 2), ("b", -48, -42), ("a", 8, 10),
    ]  # fmt: skip


@given(TRACES)
def test_every_nanosecond_is_in_one_segment(made: TracesData) -> None:
    """Segments follow each other from the root's start to its end, each within its span and below the root."""
    view = build(made)
    for root in view.roots:
        segments = critical_path(view, root)
        edges = [root.start, *itertools.chain(*((each.start, each.end) for each in segments)), root.end]
        assert edges[::2] == edges[1::2]
        for each in segments:
            assert each.span.start <= each.local_start < each.local_end <= each.span.end
            above = each.span
            while above.parent is not None:
                above = above.parent
            assert above is root
        assert sum(time_on_path(segments).values()) == root.duration


@given(TRACES)
def test_every_nanosecond_until_the_end_is_in_one_segment(made: TracesData) -> None:
    """Segments follow each other from the first start to the last end; a wait ends where its span starts."""
    view = build(made)
    segments = critical_path(view, until="end")
    start = min(span.start + span.skew for span in view.spans)
    end = max(span.end + span.skew for span in view.spans)
    edges = [start, *itertools.chain(*((each.start, each.end) for each in segments)), end]
    assert edges[::2] == edges[1::2]
    for each in segments:
        assert each.start < each.end
        if each.waiting:
            assert each.local_end <= each.span.start
        else:
            assert each.span.start <= each.local_start < each.local_end <= each.span.end
