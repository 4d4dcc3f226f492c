"""A search in the store finds what brute force finds, in the same order."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel.collector.attributes import plain, text
from causal_otel.collector.expressions import tags, whole
from causal_otel.collector.query import SORTS, Query
from causal_otel.collector.store import chunks
from causal_otel.collector.store.literals import Literals
from causal_otel.collector.store.reader import Reader
from tests.collector.spans import (
    HOUR,
    NOON,
    SECOND,
    any_value,
    event,
    span,
    trace_id,
    traces,
)
from tests.collector.store.searches import QUERIES, RANKED, TAGGED, large, some_messages
from tests.collector.store.stores import EVER, close, same_answer, write

__all__ = ["large"]


@pytest.mark.usefixtures("large")
@settings(
    max_examples=10,
    deadline=None,
    # What the fixture sets holds for all examples.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(
    messages=some_messages(), queries=st.lists(QUERIES | TAGGED, min_size=40, max_size=40), closed=st.integers(0, 12)
)
def test_a_search_finds_what_brute_force_finds(messages: list[TracesData], queries: list[Query], closed: int) -> None:
    """Whatever was sent in whatever order, and whatever is asked for: in open and closed days, and what came late."""
    with tempfile.TemporaryDirectory() as name, Reader(Path(name)) as reader:
        expected = write(Path(name), messages[:closed])
        if closed:
            close(Path(name))
        write(Path(name), messages[closed:], expected)
        for query in queries:
            found = reader.search(query, seconds=60)
            assert same_answer(found, expected, query), query
            assert reader.count(query, seconds=60) == expected.count(query), query


@pytest.mark.usefixtures("large")
@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(messages=some_messages(), queries=st.lists(RANKED, min_size=12, max_size=12))
def test_the_first_of_an_order_are_the_first_of_all_that_match(
    messages: list[TracesData], queries: list[Query]
) -> None:
    """Not of the newest: the longest, the largest, or those with the most errors; also of traces over midnight."""
    with tempfile.TemporaryDirectory() as name, Reader(Path(name)) as reader:
        expected = write(Path(name), messages)
        for _ in range(2):
            for query in queries:
                assert same_answer(reader.search(query, seconds=60), expected, query), query
            close(Path(name))


@pytest.mark.usefixtures("large")
@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(
    messages=some_messages(),
    queries=st.lists(QUERIES | TAGGED, min_size=3, max_size=3),
    sorts=st.just(list(SORTS)),
    closed=st.integers(0, 12),
)
def test_pages_are_the_whole_list_in_parts(
    messages: list[TracesData], queries: list[Query], sorts: list[str], closed: int
) -> None:
    """Forwards and backwards, in each order, also where traces have matches in several days."""
    with tempfile.TemporaryDirectory() as name, Reader(Path(name)) as reader:
        expected = write(Path(name), messages[:closed])
        if closed:
            close(Path(name))
        write(Path(name), messages[closed:], expected)
        for query in queries:
            for sort in sorts:
                paged = replace(query, sort=sort, limit=2)
                whole_list = expected.search(replace(paged, limit=100)).trace_ids
                assert _pages(reader, paged) == [whole_list[at : at + 2] for at in range(0, len(whole_list), 2)], paged


def _pages(reader: Reader, query: Query) -> list[tuple[bytes, ...]]:
    """The pages of a query, up to the last one and back again."""
    pages = [reader.search(query, seconds=60)]
    while pages[-1].last is not None:
        pages.append(reader.search(replace(query, after=pages[-1].last), seconds=60))
    pages.pop()
    for page, before in pairwise(reversed(pages)):
        assert reader.search(replace(query, before=page.first), seconds=60) == before
    return [page.trace_ids for page in pages]


@pytest.mark.parametrize("sort", SORTS)
def test_the_next_page_goes_on_where_the_last_one_ended(sort: str, tmp_path: Path) -> None:
    """What arrived meanwhile neither shifts it nor is in it, if it comes first; traces that are equal have an order."""
    spans = [span(trace=number, start=NOON + number // 3, duration=SECOND, error=True) for number in range(1, 10)]
    expected = write(tmp_path, [traces(each) for each in spans])
    query = Query(*EVER, sort=sort, limit=4)
    with Reader(tmp_path) as reader:
        first = reader.search(query)
        rest = expected.search(replace(query, after=first.last, limit=9)).trace_ids
        start = NOON - HOUR if sort == "oldest" else NOON + HOUR
        write(tmp_path, [traces(*(span(trace=99, id=n + 1, start=start, duration=HOUR, error=True) for n in range(2)))])
        assert trace_id(99) in reader.search(query).trace_ids
        assert reader.search(replace(query, after=first.last, limit=9)).trace_ids == rest


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("sort", ["longest", "spans", "errors"])
def test_a_trace_over_midnight_is_compared_as_a_whole(sort: str, closed: bool, tmp_path: Path) -> None:
    """Also if another process wrote its second part, whether or not its days are closed."""
    midnight = NOON - 12 * HOUR
    whole = [span(trace=1, start=midnight + index * SECOND, duration=SECOND, error=True) for index in (-2, -1, 0, 1)]
    others = [
        span(trace=number, start=midnight + hours * HOUR + index, duration=3 * SECOND, error=True)
        for number, hours in ((2, -1), (3, 1))
        for index in range(3)
    ]
    expected = write(tmp_path, [traces(*whole[:2], *others)])
    write(tmp_path, [traces(*whole[2:])], expected)
    if closed:
        close(tmp_path)
    with Reader(tmp_path) as reader:
        found = reader.search(Query(*EVER, sort=sort, limit=2)).trace_ids
        assert found[0] == trace_id(1)
        assert found[1] in (trace_id(2), trace_id(3))


def test_a_small_trace_over_midnight_is_found_behind_all_others(tmp_path: Path) -> None:
    """It is looked at when both of its days have told all of their own."""
    midnight = NOON - 12 * HOUR
    spans = [span(trace=1, start=midnight + seconds * SECOND, duration=1) for seconds in (-1, 1)]
    others = [span(trace=2 + n, start=midnight + (n - 3) * HOUR + index) for n in range(6) for index in range(9)]
    expected = write(tmp_path, [traces(*spans, *others)])
    with Reader(tmp_path) as reader:
        for query in (
            Query(*EVER, sort="spans"),
            Query(midnight, midnight + 2 * HOUR, sort="spans"),
            Query(midnight - 2 * HOUR, midnight, sort="spans", where=None),
        ):
            assert same_answer(reader.search(query), expected, query), query
            assert reader.search(query).trace_ids[-1] == trace_id(1)


@pytest.mark.parametrize(
    "value",
    [
        "plain", "", "ü\U0001f600", "a\0b", "x" * 256, "x" * 257, "ü" * 128, "ü" * 129, True, False, 0, -1,
        2**63 - 1, -(2**63), 1.5, 1e300, float("inf"), float("-inf"), float("nan"), b"", b"\xff\x00", [],
        [1, [2.0, "b"], None], {}, {"a": {"b": [True]}}, None,
    ],
)  # fmt: skip
def test_any_value_can_be_searched_for_as_text(value: Any, tmp_path: Path) -> None:
    """On a span, on an event or on a resource; whether it is indexed or not."""
    write(
        tmp_path,
        [
            traces(span(trace=1, tags={"key": value}), span(trace=1, tags={"key": "other"})),
            traces(span(trace=2, events=[event("happened", {"key": value})])),
            traces(span(trace=3), resource={"key": value}),
            traces(span(trace=4), span(trace=4, tags={"yek": value})),
        ],
    )
    wanted = text(plain(any_value(value)))
    with Reader(tmp_path) as reader:
        found = reader.search(Query(*EVER, where=tags((("key", wanted),))))
    assert set(found.trace_ids) == {trace_id(1), trace_id(2), trace_id(3)}


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@settings(deadline=None)
@given(key=st.sampled_from(["key", "event", "error", "span.kind"]), value=VALUES, on_event=st.booleans())
def test_a_span_is_not_passed_over_for_its_bytes_if_it_has_the_tag(key: str, value: Any, on_event: bool) -> None:
    """Whatever the value is and wherever it is; one that has it nowhere is."""
    made = span(events=[event("happened", {key: value})]) if on_event else span(tags={key: value})
    elsewhere = "longer than any value"
    having, other = made.SerializeToString(), span(elsewhere).SerializeToString()
    wanted, nowhere = (key, text(plain(any_value(value)))), ("key", "no span says this")

    def found(*pairs: tuple[str, str], operation: str | None = None, of_resource: bool = False) -> list[bytes]:
        resource_tags = {1: frozenset({nowhere})} if of_resource else {}
        literals = Literals(whole(Query(*EVER, where=tags(pairs), operation=operation)), resource_tags)
        field = chunks.spans_field([having, other])
        narrowed = literals.narrowed([(1, 1, field)])
        assert literals.may_be_in(field) or not narrowed
        return [raw for _, _, field in narrowed for raw in chunks.raw_spans(field)]

    assert having in found(wanted)
    assert having in found(wanted, nowhere, of_resource=True)
    assert having in found(wanted, operation=made.name)
    assert found(wanted, nowhere) == []
    assert having not in found(wanted, operation=elsewhere)
    if key == "key":
        assert found(wanted) == [having]


def test_a_tag_that_nothing_can_have_is_found_nowhere(tmp_path: Path) -> None:
    """A lone surrogate is no text that a span can have; asking for it is no mistake."""
    write(tmp_path, [traces(span(tags={"key": "value"}))])
    with Reader(tmp_path) as reader:
        assert reader.search(Query(*EVER, where=tags((("key", "\udcff"),)))).trace_ids == ()
        assert reader.search(Query(*EVER, where=tags((("\udcff", "value"),)))).trace_ids == ()
        assert reader.search(Query(*EVER, service="\udcff")).trace_ids == ()
        assert reader.search(Query(*EVER, operation="\udcff")).trace_ids == ()
        assert reader.operations("\udcff") == []
        assert reader.statistics(*EVER, "\udcff") == []


def test_all_conditions_are_on_one_span(tmp_path: Path) -> None:
    """A trace whose spans satisfy them only together is not found."""
    write(
        tmp_path,
        [
            traces(span("buy", trace=1, tags={"a": "1"}), span("pay", trace=1, tags={"b": "2"}, error=True)),
            traces(span("pay", trace=2, tags={"a": "1", "b": "2"}, error=True)),
        ],
    )
    with Reader(tmp_path) as reader:
        for query in (
            Query(*EVER, where=tags((("a", "1"), ("b", "2")))),
            Query(*EVER, operation="pay", where=tags((("a", "1"),))),
            Query(*EVER, errors=True, where=tags((("a", "1"),))),
            Query(*EVER, where=tags((("a", "1"), ("error", "true")))),
        ):
            assert reader.search(query).trace_ids == (trace_id(2),), query
