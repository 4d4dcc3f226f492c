"""What is different in a part of what a search finds."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel.collector.different import Differences, differences
from causal_otel.collector.expressions import written
from causal_otel.collector.matching import matching_span
from causal_otel.collector.query import Found, Query
from causal_otel.collector.query_line import parse
from tests.collector.oracle import MemoryReader
from tests.collector.spans import HOUR, MILLISECOND, NOON, SECOND, event, span, traces

HOURS = Query(NOON - 2 * HOUR, NOON)
SLOW = replace(HOURS, shortest=500 * MILLISECOND)


def planted_requests(count: int = 400) -> list[TracesData]:
    """Requests of two versions and many users. The new one is slow for a group of them: it waits for a pool."""
    rng = random.Random(4)
    messages = []
    for number in range(1, count + 1):
        version, group = rng.choice(("1.0", "2.0")), rng.choice(("gold", "silver", "basic"))
        slow = version == "2.0" and group == "gold"
        tags: dict[str, Any] = {
            "user.group": group, "user.id": f"u{number}", "request.id": rng.getrandbits(60), "coin": rng.random() < 0.5,
            "causal.pool.wait": rng.uniform(0.4, 0.6) if slow else rng.uniform(0, 0.02),
        }  # fmt: skip
        messages.append(
            traces(
                span(
                    "GET /cart", trace=number, start=NOON - rng.randrange(HOUR), error=slow and rng.random() < 0.5,
                    duration=(800 if slow else 20) * MILLISECOND + rng.randrange(MILLISECOND), tags=tags,
                    events=[event("retry", {"attempt": 2})] if slow else (),
                ),
                service="shop",
                resource={"service.version": version, "host": rng.choice("abc")},
            )
        )  # fmt: skip
    return messages


@pytest.fixture(scope="module")
def planted() -> MemoryReader:
    """The planted requests."""
    return MemoryReader(planted_requests())


def test_what_was_planted_is_told_first(planted: MemoryReader) -> None:
    """The version, the group, what these wait for and what happens meanwhile; no ids, and nothing that chance makes."""
    found = differences(planted, SLOW, HOURS, seconds=60)
    told = [f"{row.key}{row.operator}{row.value}" for row in found.rows]
    assert {"event=retry", "attempt=2"} <= set(told[:4])
    assert told.index("user.group=gold") < 8
    assert told.index("service.version=2.0") < 8
    waited = next(row for row in found.rows if row.key == "causal.pool.wait")
    assert waited.operator == ">="
    assert 0.015 < float(waited.value) < 0.6
    assert len(waited.value) < 8
    assert not {row.key for row in found.rows} & {"user.id", "request.id", "coin", "host"}
    assert [abs(row.difference) for row in found.rows] == sorted(
        (abs(row.difference) for row in found.rows), reverse=True
    )


def test_the_shares_are_those_of_the_spans(planted: MemoryReader) -> None:
    """Each row's condition holds for that share of the spans in the part, and of the rest."""
    found = differences(planted, SLOW, HOURS, seconds=60)
    messages = list(planted.traces([*planted.search(replace(HOURS, limit=1000)).trace_ids]))
    inside = [each for each in messages if matching_span(each, SLOW)]
    outside = [each for each in messages if not matching_span(each, SLOW)]
    assert (found.inside, found.outside, found.complete) == (len(inside), len(outside), True)
    assert found.rows
    for row in found.rows:
        asked = replace(HOURS, where=row.condition)
        for group, share in ((inside, row.inside), (outside, row.outside)):
            assert sum(matching_span(each, asked) is not None for each in group) / len(group) == share
        assert parse(written(row.condition)).where == row.condition


def test_a_part_without_a_rest_is_not_compared(planted: MemoryReader) -> None:
    """Nor is a rest without a part: there are no rows, and the counts say why."""
    assert differences(planted, HOURS, HOURS, seconds=60) == Differences((), 400, 0, complete=True)
    nothing = differences(planted, replace(HOURS, shortest=HOUR), HOURS, seconds=60)
    assert (nothing.rows, nothing.inside) == ((), 0)


def test_what_there_is_no_time_for_is_told(planted: MemoryReader) -> None:
    """Without time nothing is compared; a search that is broken off makes it a part."""
    assert differences(planted, SLOW, HOURS, seconds=0) == Differences((), 0, 0, complete=False)

    class Hurried(MemoryReader):
        def search(self, query: Query, *, seconds: float = 2.0) -> Found:
            return replace(super().search(query), complete=False)

    assert not differences(Hurried(planted_requests(40)), SLOW, HOURS, seconds=60).complete


def test_groups_that_are_alike_differ_in_nothing() -> None:
    """What chance makes is not told."""
    rng = random.Random(7)
    messages = [
        traces(
            span(trace=number, start=NOON - number * SECOND, duration=rng.choice((1, 900)) * MILLISECOND,
                 tags={"a": rng.choice("xyz"), "n": rng.randrange(1000)}),
            service="shop",
        )
        for number in range(1, 300)
    ]  # fmt: skip
    found = differences(MemoryReader(messages), SLOW, HOURS, seconds=60)
    assert {row.key for row in found.rows} <= {"n"}
    assert all(abs(row.difference) < 0.25 for row in found.rows)
