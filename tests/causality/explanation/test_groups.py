"""The difference of two groups of traces, by operation."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel.causality.critical_path import critical_path
from causal_otel.causality.explanation.comparison import compare
from causal_otel.causality.explanation.groups import Group, compare_groups, rank
from causal_otel.collector.analysis import build
from tests.causality.explanation.made import call, query, request, view
from tests.collector.analysis.making import TRACES

MS = 1_000_000


def group(*traces: TracesData) -> Group:
    """These together."""
    found = Group()
    for each in traces:
        found.add(build(each))
    return found


GROUPS = st.lists(TRACES, min_size=1, max_size=4)


@given(GROUPS, GROUPS)
def test_rows_add_up_to_the_difference_of_the_means(a: list[TracesData], b: list[TracesData]) -> None:
    """Exactly, whatever the traces are like, with what clocks disagree by."""
    found = compare_groups(group(*a), group(*b))
    means = [Fraction(sum(build(each).duration for each in some), len(some)) for some in (a, b)]
    assert (found.a.mean, found.b.mean) == tuple(means)
    assert sum(row.explains for row in found.rows) + found.clocks == found.difference == means[1] - means[0]
    for row in found.rows:
        assert sum(part.delta for part in row.parts) == row.explains
        assert row.a.own + row.a.waits == row.a.on_path


@given(GROUPS)
def test_what_a_row_says_is_what_its_spans_are(some: list[TracesData]) -> None:
    """Calls, errors, percentiles and time on the path of each operation, by looking at every span."""
    found = compare_groups(group(*some), group(*some))
    views = [build(each) for each in some]
    for row in found.rows:
        key = row.service, row.operation, row.system
        spans = [span for each in views for span in each.spans if (span.service, span.name, span.system) == key]
        durations = sorted(span.duration for span in spans)
        assert row.a.calls == Fraction(len(spans), len(some))
        assert row.a.failing == Fraction(sum(span.error for span in spans), len(spans))
        assert (row.a.p50, row.a.p95) == (rank(durations, 50), rank(durations, 95))
    on_path = sum(segment.duration for each in views for segment in critical_path(each, None, "end"))
    assert sum(row.a.sums.on_path for row in found.rows) == on_path


@given(TRACES, TRACES)
def test_groups_of_one_trace_each_differ_as_the_traces_do(a: TracesData, b: TracesData) -> None:
    """By operation, the comparison of the two traces says the same."""
    found = compare_groups(group(a), group(b))
    rows = compare(build(a), build(b)).rows
    for row in found.rows:
        same = [
            each
            for each in rows
            if (each.service, each.operation, each.system) == (row.service, row.operation, row.system)
        ]
        assert row.explains == sum(each.explains for each in same)
        assert row.a.own == sum(each.a.own for each in same)
        assert row.b.waits == sum(each.b.waits for each in same)


def test_the_rows_that_explain_most_are_first() -> None:
    """With what their time was spent on."""
    a, b = Group(), Group()
    for wait in (0, 100):
        a.add(view(request(200 + wait), query("q", 20, 120 + wait, {"causal.pool.wait": wait / 1000})))
        b.add(view(request(500 + wait), query("q", 20, 420 + wait, {"causal.pool.wait": (300 + wait) / 1000})))
    b.add(view(request(400), call("c", 100, 400)))
    found = compare_groups(a, b)
    assert [row.operation for row in found.rows][:2] == ["SELECT items", "GET"]
    assert found.rows[0].explains == Fraction((400 + 500) * MS, 3) - Fraction((100 + 200) * MS, 2)
    assert found.rows[0].parts[0].label == "waiting for a PostgreSQL connection"
    assert found.rows[0].parts[0].delta == Fraction(700 * MS, 3) - Fraction(100 * MS, 2)
    assert found.rows[1].b.calls == Fraction(1, 3)


def test_ranks() -> None:
    """The least number that so many percent do not exceed."""
    assert [rank(range(1, 101), percent) for percent in (1, 50, 95, 100)] == [1, 50, 95, 100]
    assert rank([7], 50) == rank([7], 95) == 7
    assert rank([], 50) == 0
