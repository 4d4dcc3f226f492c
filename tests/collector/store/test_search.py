"""A search in the store finds what brute force finds, in the same order."""

from __future__ import annotations

import random
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
from causal_otel.collector.expressions import And, Expression, Not, Or, tags, whole
from causal_otel.collector.query import SORTS, Query
from causal_otel.collector.query_line import parse
from causal_otel.collector.store import chunks
from causal_otel.collector.store.literals import Literals
from causal_otel.collector.store.reader import Reader
from tests.collector.spans import (
    HOUR,
    MILLISECOND,
    MINUTE,
    NOON,
    SECOND,
    any_value,
    event,
    merged,
    span,
    trace_id,
    traces,
)
from tests.collector.store.stores import EVER, close, same_answer, write

SERVICES = ("shop", "cart", None)
OPERATIONS = ("buy", "pay", "käse")
TAGS: tuple[dict[str, Any], ...] = (
    {},
    {"user": "ümit", "n": 1},
    {"user": "bob", "n": 1.0},
    {"n": True, "list": [1, "a", None]},
    {"error": True},
    {"span.kind": "server", "host": "span's own"},
    {"db.query.text": "SELECT 1", "long": "x" * 300},
    {"raw": b"\x00\xff", "empty": "", "none": None},
    {"db.system.name": "redis", "user": "bob"},
    {"http.request.method": "GET", "server.address": "a.example"},
)
RESOURCES: tuple[dict[str, Any], ...] = ({}, {"host": "a"}, {"host": "b", "n": 1}, {"error": True})
DURATIONS = (0, MILLISECOND, 3 * MILLISECOND, SECOND, 2 * MINUTE)
WANTED = (
    ("user", "ümit"), ("user", "bob"), ("n", "1"), ("n", "true"), ("list", '[1,"a",null]'), ("error", "true"),
    ("otel.status_code", "ERROR"), ("otel.status_code", "OK"), ("span.kind", "server"), ("span.kind", "client"),
    ("host", "a"), ("host", "b"), ("host", "span's own"), ("db.query.text", "SELECT 1"), ("long", "x" * 300),
    ("raw", "AP8="), ("empty", ""), ("none", ""), ("event", "cache miss"), ("in event", "yes"),
    ("otel.scope.name", "tests"), ("otel.scope.version", "1"), ("otel.status_description", "boom"),
    ("service.name", "shop"), ("user", "\ud800"), ("nobody", "has this"),
)  # fmt: skip
TIMES = st.one_of(
    st.integers(-36 * 60, 5 * 60).map(lambda minutes: NOON + minutes * MINUTE),
    # Around midnight, and far from everything.
    st.integers(-70, 70).map(lambda seconds: NOON - 12 * HOUR + seconds * SECOND),
    st.sampled_from([0, NOON - 400 * 24 * HOUR, NOON + 400 * 24 * HOUR, 2**63 - 1, 2**64 - 10**12]),
)


@st.composite
def some_messages(draw: st.DrawFn) -> list[TracesData]:
    """Requests, each with spans of a few traces; some come twice."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    times = draw(st.lists(TIMES, min_size=1, max_size=4))
    messages = []
    for number in range(draw(st.integers(1, 10))):
        groups = []
        for _ in range(rng.choice((1, 1, 2))):
            spans = []
            for _ in range(rng.randint(1, 6)):
                # No two start at once, so that the order is certain.
                start = rng.choice(times) + rng.choice((0, SECOND, 59 * SECOND, 10 * MINUTE)) + rng.randrange(1, 10**6)
                spans.append(
                    span(
                        rng.choice(OPERATIONS),
                        trace=rng.randint(1, 6),
                        id=rng.randint(1, 1 << 40),
                        parent=rng.choice((0, 0, 7)),
                        start=start,
                        duration=min(rng.choice(DURATIONS), 2**64 - 1 - start),
                        kind=rng.randint(0, 5),
                        error=rng.choice((False, False, True, "boom")),
                        tags=rng.choice(TAGS),
                        events=[event("cache miss", {"in event": "yes"})] if rng.random() < 0.2 else (),
                    )
                )
            groups.append(traces(*spans, service=rng.choice(SERVICES), resource=rng.choice(RESOURCES)))
        messages.append(merged(*groups))
        if rng.random() < 0.1:
            messages.append(traces(span(trace=1, id=number + 1, start=times[0]), service="again"))
            messages.append(messages[rng.randrange(len(messages))])
    return messages


def _optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), st.none(), values)


LEAVES = tuple(
    expression
    for line in (
        "n>0", "n!=1", "n<=1.0", "n=true", "n=1.00", "!n", "user", "!user", "user~Ü|O", "user=*b", "user!=bob",
        "host!=a", "host=*", "host~span", "error~t", "!error", "error", "long~xx", "db.query.text=SELECT*", '"in*"=x',
        "nobody>1", "!nobody", "event~MISS", "otel.status_code!=OK", "span.kind!=server", "service.name~sh.p",
        "list~a,null", "raw~ap8", "service=shop", "service!=shop", "service=*a*", "service~sh.p", "name=buy",
        "name!=buy", "name=*ä*", "name~AY", "kind=server", "kind!=client", "system=redis", "system!=redis", 'system=""',
        "system=http*", "status=error", "status!=error", "status=ok", "status=unset", "duration>0s", "duration>=1s",
        "duration<3ms", "duration<=0s", "duration=1ms", "duration!=1s", "duration!=0ns", "root=true", "root!=true",
    )
    if (expression := parse(line).where) is not None
) + tuple(expression for pair in WANTED if (expression := tags((pair,))) is not None)  # fmt: skip
"""Conditions that a part of the spans satisfy."""
EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    st.sampled_from(LEAVES),
    lambda parts: st.one_of(
        parts.map(Not),
        st.lists(parts, min_size=2, max_size=3).map(lambda some: And(tuple(some))),
        st.lists(parts, min_size=2, max_size=3).map(lambda some: Or(tuple(some))),
    ),
    max_leaves=6,
)
LIKE = ("B", "ay", "p*", "*Ä*", "nothing", "")
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "start": st.one_of(st.just(0), TIMES),
    "end": st.one_of(st.just(2**64), TIMES),
    "service": _optional(st.sampled_from(["shop", "cart", "missing-service-name", "nobody", "\ud800"])),
    "operation": _optional(st.sampled_from([*OPERATIONS, "nothing"])),
    "operation_like": _optional(st.sampled_from(LIKE)),
    "kind": _optional(st.sampled_from(["server", "client", "unspecified", "internal", "odd"])),
    "shortest": _optional(st.sampled_from([0, 1, SECOND, MINUTE, 2**62])),
    "longest": _optional(st.sampled_from([0, MILLISECOND, SECOND, 2**62])),
    "system": _optional(st.sampled_from(["redis", "http", "http a.example", "", "\ud800"])),
    "errors": st.sampled_from([False, False, True]),
    "limit": st.sampled_from([0, 1, 2, 20]),
}
QUERIES = st.one_of(
    st.builds(Query, **FIELDS),
    st.builds(Query, **FIELDS, where=EXPRESSIONS),
    st.builds(Query, start=st.just(0), end=st.just(2**64), where=EXPRESSIONS),
)
RANKED = st.builds(replace, QUERIES, sort=st.sampled_from(["oldest", "longest", "spans", "errors"]))
TAGGED = st.builds(
    Query,
    start=st.just(0),
    end=st.just(2**64),
    service=_optional(st.sampled_from(["shop", "cart"])),
    operation=_optional(st.sampled_from(OPERATIONS)),
    operation_like=_optional(st.sampled_from(LIKE)),
    where=st.lists(st.sampled_from(WANTED), min_size=1, max_size=3).map(tags),
    limit=st.sampled_from([1, 20]),
)
"""Those that only the index of tags can help with."""


@pytest.fixture(params=[None, 0, 1, 3])
def large(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Days that are closed and searched as if they were large; None: as they are.

    Up to so many chunks are looked at each, and the tags that make shapes are any ones: a bad guess must do, too.
    """
    few = request.param
    if few is not None:
        monkeypatch.setattr("causal_otel.collector.store.search._ALWAYS_BY_TAG", few)
        monkeypatch.setattr("causal_otel.collector.store.search.PATIENCE", few)
        monkeypatch.setattr("causal_otel.collector.store.ranking.PATIENCE", few)
        monkeypatch.setattr("causal_otel.collector.store.search._ROWS_PER_LOOK", 1 + 9 * few)
        monkeypatch.setattr("causal_otel.collector.store.compaction._TRACES_PER_SHAPE", 1 / (1 + 10 * few))
        monkeypatch.setattr("causal_otel.collector.store.compaction.frequent_tags", _some_tags)


def _some_tags(traces: list[list[tuple[object, set[int]]]], _most: int) -> frozenset[int]:
    return frozenset(hashed for spans in traces for _, tags in spans for hashed in tags if hashed % 3)


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


@pytest.mark.parametrize("sort", ["longest", "spans", "errors"])
def test_a_trace_over_midnight_is_compared_as_a_whole(sort: str, tmp_path: Path) -> None:
    """Also if another process wrote its second part, once one of the days is closed."""
    midnight = NOON - 12 * HOUR
    whole = [span(trace=1, start=midnight + index * SECOND, duration=SECOND, error=True) for index in (-2, -1, 0, 1)]
    others = [
        span(trace=number, start=midnight + hours * HOUR + index, duration=3 * SECOND, error=True)
        for number, hours in ((2, -1), (3, 1))
        for index in range(3)
    ]
    expected = write(tmp_path, [traces(*whole[:2], *others)])
    write(tmp_path, [traces(*whole[2:])], expected)
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
