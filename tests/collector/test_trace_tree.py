"""A trace as a tree: order, times and errors, and what is made of damage."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, TracesData

from causal_otel.collector.analysis import SpanView, TraceView, build
from causal_otel.collector.matching import summary
from tests.collector.analysis.making import BEGIN, MS, TRACE_ID, TRACES, pairs, span, span_id, trace


def _names(view: TraceView) -> list[str]:
    return [each.name for each in view.spans]


def _at(view: TraceView, name: str) -> SpanView:
    return next(each for each in view.spans if each.name == name)


def test_spans_stand_below_their_parents_as_they_began() -> None:
    """Whatever the order of arrival, a child follows its parent and siblings follow their starts."""
    spans = [span("root"), span("b", "root", 5), span("a", "root", 1), span("a1", "a", 2), span("b1", "b", 6)]
    for arrival in itertools.permutations(spans):
        view = build(trace(*arrival))
        assert _names(view) == ["root", "a", "a1", "b", "b1"]
        assert [each.depth for each in view.spans] == [0, 1, 2, 1, 2]
        assert view.root is view.spans[0]


def _at_time(made: ResourceSpans, **times: int) -> ResourceSpans:
    for field, nanoseconds in times.items():
        setattr(made.scope_spans[0].spans[0], field, nanoseconds)
    return made


@pytest.mark.parametrize(
    ("times", "at", "warning"),
    [
        ({"start_time_unix_nano": 0}, 0, "it starts at 0, which is no time: it stands at the edge, without a length"),
        ({"start_time_unix_nano": 2**64 - 1}, 10, "it starts at 18446744073709551615, which is no time: it stands"),
        ({"start_time_unix_nano": 1_700_000_000, "end_time_unix_nano": 1_700_000_001}, 0, "it starts at 1700000000,"),
        ({"start_time_unix_nano": 0, "end_time_unix_nano": 0}, 0, "it starts at 0, which is no time"),
        (
            {"end_time_unix_nano": 2**64 - 1},
            2,
            "it ends at 18446744073709551615, which is no time: it is drawn without",
        ),
        ({"end_time_unix_nano": 0}, 2, "it has no end"),
    ],
)
def test_a_time_that_cannot_be_meant_stretches_nothing(times: dict[str, int], at: int, warning: str) -> None:
    """A span with a time of 0, of all ones, or in seconds is marked, has no length, and stands at the others' edge."""
    made = trace(span("root", end=10), _at_time(span("odd", "root", 2, 4), **times), span("a", "root", 1, 9))
    view = build(made)
    assert (view.start, view.end, view.root) == (BEGIN, BEGIN + 10 * MS, _at(view, "root"))
    odd = _at(view, "odd")
    assert (odd.start, odd.end, odd.duration) == (BEGIN + at * MS, BEGIN + at * MS, 0)
    assert any(each.startswith(warning) for each in odd.warnings)
    assert [each.name for each in view.spans if each.warnings] == ["odd"]
    found = summary(made)
    assert (found.start, found.end, found.root_operation) == (BEGIN, BEGIN + 10 * MS, "root")


def test_a_root_without_a_time_is_the_root_all_the_same() -> None:
    """The axis is that of the spans that have a time; the root stands at its edge."""
    view = build(trace(_at_time(span("root"), start_time_unix_nano=0), span("a", "root", 1, 9)))
    assert (view.root, view.start, view.end) == (_at(view, "root"), BEGIN + MS, BEGIN + 9 * MS)


def test_times_of_a_made_up_trace_are_as_they_are() -> None:
    """Where no span has a time that can be meant, the axis is theirs."""
    made = [_at_time(span(name), start_time_unix_nano=10, end_time_unix_nano=20) for name in "ab"]
    view = build(trace(*made))
    assert (view.start, view.duration, [each.warnings for each in view.spans]) == (10, 10, [(), ()])


def test_a_span_tells_what_it_holds() -> None:
    """Ids are hexadecimal, values plain, events in order of time."""
    made = span(
        "a",
        "gone",
        1,
        3,
        operation="GET /",
        service="shop",
        kind="server",
        error=True,
        message="no",
        attributes={"n": 1, "t": "x", "f": 0.5, "b": True},
        events=[Span.Event(name="late", time_unix_nano=2), Span.Event(name="early", time_unix_nano=1)],
        links=[Span.Link(trace_id=b"\1" * 16, span_id=b"\2" * 8, attributes=pairs({"k": "v"}))],
        resource={"host.name": "h"},
    )
    view = build(trace(made))
    (found,) = view.spans
    assert view.trace_id == TRACE_ID
    assert (found.span_id, found.parent_id) == (span_id("a"), span_id("gone"))
    assert (found.name, found.service, found.kind, found.scope.name) == ("GET /", "shop", "server", "tests")
    assert (found.start, found.end, found.duration) == (BEGIN + MS, BEGIN + 3 * MS, 2 * MS)
    assert (found.status, found.status_message, found.error) == ("error", "no", True)
    assert found.attributes == {"n": 1, "t": "x", "f": 0.5, "b": True}
    assert found.resource == {"service.name": "shop", "host.name": "h"}
    assert [event.name for event in found.events] == ["early", "late"]
    assert [(link.trace_id, link.span_id, link.attributes) for link in found.links] == [
        ("01" * 16, "02" * 8, {"k": "v"})
    ]
    assert view.span(span_id("a")) is found
    assert view.span(span_id("b")) is None


def test_self_time_is_what_no_child_covers() -> None:
    """Children that overlap count once, outside their parent not at all, detached ones never."""
    view = build(
        trace(
            span("root", end=10),
            span("a", "root", 1, 4),
            span("b", "root", 3, 6),
            span("c", "root", 3, 4),
            span("d", "root", 9, 12),
            span("e", "root", 7, 8, links=[Span.Link(attributes=pairs({"causal.link": "detached"}))]),
        )
    )
    assert view.spans[0].self_time == 4 * MS
    assert [each.name for each in view.spans if each.detached] == ["e"]


def test_spans_tell_of_their_tasks() -> None:
    """Numbers are taken as they are, and nothing else is taken for one."""
    told = {"causal.task": 2, "causal.task.waiter": 1, "causal.task.unawaited": True}
    odd = {"causal.task": "2", "causal.task.waiter": 1.5, "causal.task.unawaited": "yes"}
    view = build(trace(span("root"), span("a", "root", 1, attributes=told), span("b", "root", 2, attributes=odd)))
    assert {each.name: (each.task, each.waiter, each.unawaited) for each in view.spans} == {
        "root": (None, None, False), "a": (2, 1, True), "b": (None, None, False),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("made", "local_root"),
    [
        (span("a", "root", 1), False),
        (span("a", "gone", 1), True),
        (span("a", "root", 1, service="shop"), True),
        (span("a", "root", 1, resource={"service.instance.id": "2"}), True),
        (span("a", "root", 1, kind="client"), False),
        (span("a", "root", 1, kind="server"), True),
        (span("a", "root", 1, kind="consumer"), True),
        (_at_time(span("a", "root", 1, kind="server"), flags=0x101), False),
        (_at_time(span("a", "root", 1, kind="server"), flags=0x301), True),
        (_at_time(span("a", "root", 1), flags=0x301), True),
        (_at_time(span("a", "root", 1, service="shop"), flags=0x101), True),
    ],
)
def test_a_local_root_has_its_parent_in_another_process(made: ResourceSpans, local_root: bool) -> None:
    """The resources tell, else its flags, else whether it works for others; without a parent it is one as well."""
    view = build(trace(span("root"), made))
    assert _at(view, "root").local_root
    assert _at(view, "a").local_root is local_root


def test_what_follows_from_a_span_of_the_trace_is_detached() -> None:
    """OpenTracing's other kind of reference means that nobody waits, if it is to this trace."""
    follows = pairs({"opentracing.ref_type": "follows_from"})
    view = build(
        trace(
            span("a", links=[Span.Link(trace_id=bytes.fromhex(TRACE_ID), attributes=follows)]),
            span("b", links=[Span.Link(trace_id=b"\1" * 16, attributes=follows)]),
        )
    )
    assert {each.name: each.detached for each in view.spans} == {"a": True, "b": False}


def test_errors_are_counted_for_every_span_above() -> None:
    """A span tells how many below it have failed, itself not counted."""
    view = build(trace(span("root"), span("a", "root", error=True), span("b", "a", error=True), span("c", "root")))
    assert {each.name: each.errors_below for each in view.spans} == {"root": 2, "a": 1, "b": 0, "c": 0}
    assert view.errors == 2


def test_a_missing_parent_makes_a_root() -> None:
    """It is marked, and the trace is still called by its true root, though that is later."""
    view = build(trace(span("orphan", "gone", 0), span("root", start=1)))
    assert [(each.name, each.orphan) for each in view.roots] == [("orphan", True), ("root", False)]
    assert view.root is not None
    assert view.root.name == "root"
    assert view.spans[0].warnings == ("the span that it names as its parent is not in the trace",)


@pytest.mark.parametrize("parents", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "c", "b": "a", "c": "b"}])
def test_a_circle_is_cut_at_its_earliest_span(parents: dict[str, str]) -> None:
    """Parents that go in a circle lose the earliest span's, and what hangs on them keeps its place."""
    circle = [span(name, parent, start) for start, (name, parent) in enumerate(parents.items(), start=5)]
    view = build(trace(span("x", "a", 0), *circle))
    assert [each.name for each in view.roots] == ["a"]
    assert len(view.spans) == len(parents) + 1
    assert _at(view, "a").warnings == ("its parents go in a circle",)
    assert _at(view, "x").depth == 1


def test_spans_with_one_id_are_all_there() -> None:
    """The children of an id that client and server share stand below the span of their own service."""
    view = build(
        trace(
            span("root"),
            span("shared", "root", 1, operation="call", service="api", kind="client"),
            span("shared", "root", 2, operation="serve", service="shop", kind="server"),
            span("a", "shared", 3, service="shop"),
            span("b", "shared", 3, service="api"),
            span("c", "shared", 3, service="other"),
        )
    )
    parents = {each.name: each.parent.name for each in view.spans if each.parent is not None}
    assert parents == {"call": "root", "serve": "root", "a": "serve", "b": "call", "c": "call"}
    assert _at(view, "call").warnings == ("2 spans have this id",)


@pytest.mark.parametrize(("end", "warning"), [(3, "it ends 2 ms before it starts"), (-BEGIN / MS, "it has no end")])
def test_an_end_before_the_start_is_no_duration(end: float, warning: str) -> None:
    """Such a span takes no time, and says so."""
    (found,) = build(trace(span("a", start=5, end=end))).spans
    assert (found.start, found.end, found.duration) == (BEGIN + 5 * MS, BEGIN + 5 * MS, 0)
    assert found.warnings == (warning,)


def test_clocks_that_disagree_are_noticed_and_left() -> None:
    """A server that starts before its client is put in the middle by ``skew``, what it called with it."""
    view = build(
        trace(
            span("call", start=100, end=120, kind="client"),
            span("serve", "call", 40, 50, service="shop", kind="server"),
            span("query", "serve", 42, 44, service="shop"),
            span("late", "call", 125, 126, service="other", kind="server"),
            span("task", "call", 119, 150, service="worker", kind="consumer"),
        )
    )
    assert {each.name: each.skew / MS for each in view.spans} == {
        "call": 0, "serve": 65, "query": 65, "late": -15.5, "task": 0,
    }  # fmt: skip
    assert _at(view, "serve").start == BEGIN + 40 * MS
    assert _at(view, "serve").warnings == ("its clock seems to be 65 ms behind its parent's",)
    assert _at(view, "query").warnings == ()
    assert _at(view, "late").warnings == ("its clock seems to be 15.5 ms ahead of its parent's",)


def test_one_host_has_one_clock() -> None:
    """Processes of a host cannot disagree about the time."""
    host = {"host.name": "h"}
    view = build(
        trace(span("a", start=10, resource=host), span("b", "a", 5, service="shop", kind="server", resource=host))
    )
    assert [each.skew for each in view.spans] == [0, 0]


def test_a_trace_without_spans_is_empty() -> None:
    """Nothing is not an error."""
    view = build(TracesData())
    assert (view.trace_id, view.spans, view.roots, view.root, view.duration) == ("", (), (), None, 0)


def test_depth_and_breadth_have_no_limit() -> None:
    """A chain deeper than Python's stack and a span with as many children are read alike."""
    names = [f"{number:08}" for number in range(5_000)]
    chain = build(trace(*(span(name, parent) for parent, name in itertools.pairwise(["", *names]))))
    assert chain.spans[-1].depth == 4_999
    fan = build(trace(span(names[0]), *(span(name, names[0]) for name in names[1:])))
    assert len(fan.spans[0].children) == 4_999
    same = build(trace(*(span("a", "a", number % 10) for number in range(5_000))))
    assert len(same.spans) == 5_000


@given(TRACES)
def test_every_span_has_one_place(made: TracesData) -> None:
    """Whatever the parents, each span is there once, below its parent, siblings by start, subtrees in one piece."""
    view = build(made)
    assert [each.index for each in view.spans] == list(range(len(made.resource_spans)))
    assert sorted(each.name for each in view.spans) == sorted(
        group.scope_spans[0].spans[0].name for group in made.resource_spans
    )
    assert list(view.roots) == [each for each in view.spans if each.depth == 0]
    for above, below in itertools.pairwise(view.spans):
        assert below.depth <= above.depth + 1
    for each in view.spans:
        assert (each.parent is None) == (each.depth == 0)
        assert all(child.parent is each and child.depth == each.depth + 1 for child in each.children)
        assert [child.start for child in each.children] == sorted(child.start for child in each.children)
        assert 0 <= each.self_time <= each.duration


@given(TRACES)
def test_a_tree_and_its_summary_agree(made: TracesData) -> None:
    """The view counts as searches and lists count."""
    view, line = build(made), summary(made)
    assert view.start == line.start
    assert view.end == max(line.end, *(each.start for each in view.spans), view.start)  # one that ends before it starts
    assert (len(view.spans), view.errors, view.services) == (line.spans, line.errors, line.services)
    assert sum(each.orphan for each in view.spans) == line.orphans
    assert sum(root.errors_below + root.error for root in view.roots) == line.errors
    assert view.root is not None
    if view.root.orphan or not view.root.parent_id:
        assert line.root_operation in {each.name for each in view.roots if each.start == view.root.start}
