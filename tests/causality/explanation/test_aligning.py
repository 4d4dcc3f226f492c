"""Which span of one trace is which of another."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel.causality.explanation import aligning
from causal_otel.causality.explanation.aligning import aligned, operation_of
from causal_otel.collector.analysis import TraceView, build
from tests.collector.analysis.making import TRACES, span, trace


def calls(names: str) -> TraceView:
    """A trace with a root and below it, one after the other, a call of each letter."""
    below = [span(f"s{n}", "root", n * 10, n * 10 + 5, operation=name) for n, name in enumerate(names)]
    return build(trace(span("root", "", 0, 1000), *below))


def shown(a: str, b: str) -> str:
    """The level below the root: a letter for a pair, one with ``*`` for a moved pair, ``-`` and ``+`` for one alone."""
    said = []
    for pair in list(aligned(calls(a), calls(b)))[1:]:
        either = pair.a or pair.b
        assert either is not None
        sign = "-" if pair.b is None else "+" if pair.a is None else "*" if pair.moved else ""
        said.append(f"{sign}{either.name}")
    return " ".join(said)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("qqq", "qqq", "q q q"),
        ("qqq", "qqqq", "q q q +q"),
        ("qqqq", "qqq", "q q q -q"),
        ("xqrf", "yqqqrf", "-x +y q +q +q r f"),
        ("aqrq", "aqqrq", "a q +q r q"),
        ("aqqrq", "aqrq", "a q -q r q"),
        ("abc", "xabc", "+x a b c"),
        ("abc", "abxc", "a b +x c"),
        ("abc", "ayc", "a -b +y c"),
        ("ab", "ba", "*a b"),
        ("abcq", "qabc", "a b c *q"),
        ("", "ab", "+a +b"),
        ("ab", "", "-a -b"),
        ("", "", ""),
    ],
)
def test_calls_are_aligned_by_operation_and_position(a: str, b: str, expected: str) -> None:
    """The third call is compared with the third; what was put in, is gone or was moved is seen as that."""
    assert shown(a, b) == expected


def test_the_third_call_is_compared_with_the_third() -> None:
    """By position, not by how alike they are."""
    pairs = list(aligned(calls("qqqxq"), calls("qqqyq")))[1:]
    assert [(pair.a and pair.a.start, pair.b and pair.b.start) for pair in pairs if pair.a and pair.b] == [
        (pair.a.start, pair.a.start) for pair in pairs if pair.a and pair.b
    ]


def test_what_is_below_something_alone_is_alone() -> None:
    """Children of a span without a counterpart have none either, whatever there is elsewhere."""
    a = build(trace(span("root"), span("old", "root"), span("q", "old")))
    b = build(trace(span("root"), span("new", "root"), span("q", "new")))
    pairs = [(pair.depth, pair.a and pair.a.name, pair.b and pair.b.name) for pair in aligned(a, b)]
    assert pairs == [
        (0, "root", "root"), (1, "old", None), (2, "q", None), (1, None, "new"), (2, None, "q"),
    ]  # fmt: skip


def longest_common(a: str, b: str) -> int:
    @cache
    def of(one: int, other: int) -> int:
        if one == len(a) or other == len(b):
            return 0
        if a[one] == b[other]:
            return 1 + of(one + 1, other + 1)
        return max(of(one + 1, other), of(one, other + 1))

    return of(0, 0)


LETTERS = st.text("abq", max_size=12)


@given(LETTERS, LETTERS)
def test_as_many_as_can_be_are_in_order(a: str, b: str) -> None:
    """Pairs that are not moved are a longest common subsequence; what is alone has no namesake that is."""
    pairs = list(aligned(calls(a), calls(b)))[1:]
    in_order = [pair for pair in pairs if pair.a and pair.b and not pair.moved]
    assert len(in_order) == longest_common(a, b)
    places = [(pair.a.start, pair.b.start) for pair in in_order if pair.a and pair.b]
    assert places == sorted(places)
    assert sorted(places, key=lambda each: each[1]) == places
    gone = {pair.a.name for pair in pairs if pair.a and not pair.b}
    put_in = {pair.b.name for pair in pairs if pair.b and not pair.a}
    assert not gone & put_in


@given(TRACES, TRACES)
def test_every_span_is_in_one_pair(a: TracesData, b: TracesData) -> None:
    """Each once, after its parent, with one of the same operation or alone, whatever the traces are like."""
    traces = build(a), build(b)
    pairs = list(aligned(*traces))
    for side, view in zip("ab", traces, strict=True):
        found = [getattr(pair, side) for pair in pairs if getattr(pair, side) is not None]
        assert sorted(each.index for each in found) == list(range(len(view.spans)))
        # Among siblings a moved one stands where the other trace's does; parents are always before their children.
        at = {each.index: place for place, each in enumerate(found)}
        assert all(at[each.parent.index] < at[each.index] for each in found if each.parent is not None)
    for pair in pairs:
        if pair.a is not None and pair.b is not None:
            assert operation_of(pair.a) == operation_of(pair.b)
            assert pair.depth == pair.a.depth == pair.b.depth


def test_of_very_many_calls_each_is_compared_with_that_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the best alignment would take too long, equal calls are pairs by their number, and none is called moved."""
    monkeypatch.setattr(aligning, "_MOST_CELLS", 3)
    assert shown("xqqy", "qxqq") == "x q q -y +q"
