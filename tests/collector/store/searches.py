"""Messages and queries for tests of searches, made by hypothesis; days that are searched as if they were large."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel.collector.expressions import And, Expression, Not, Or, tags
from causal_otel.collector.query import Query
from causal_otel.collector.query_line import parse
from tests.collector.spans import (
    HOUR,
    MILLISECOND,
    MINUTE,
    NOON,
    SECOND,
    event,
    merged,
    span,
    traces,
)

__all__ = ["QUERIES", "RANKED", "TAGGED", "large", "some_messages"]

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
