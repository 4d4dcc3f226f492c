"""The heat map of the store counts what brute force counts, whichever way it goes."""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causal_otel.collector import heat
from causal_otel.collector.expressions import whole
from causal_otel.collector.heat import HeatMap
from causal_otel.collector.query import Query
from causal_otel.collector.query_line import parse
from causal_otel.collector.store.histogram import BOUNDS
from causal_otel.collector.store.reader import Reader
from tests.collector.oracle import MemoryReader
from tests.collector.oracle_heat import per_span
from tests.collector.spans import HOUR, MILLISECOND, MINUTE, NOON, SECOND, merged, span, traces
from tests.collector.store.searches import QUERIES, TAGGED, large, some_messages
from tests.collector.store.stores import close, write

__all__ = ["large"]

DAY = 24 * HOUR
KINDS = (1, 2, 3)


def _week(rng: random.Random, count: int = 120) -> list[TracesData]:
    """Traces of nine days; in each every operation is once, and some parts come later than others."""
    messages = []
    for number in range(1, count + 1):
        start = NOON + 5 * HOUR - rng.randrange(rng.choice((HOUR, 20 * HOUR, 9 * DAY)))
        took = int(10 ** rng.uniform(2.5, 11.5))
        parts = [
            traces(
                span(
                    name, trace=number, id=number * 10 + place, parent=number * 10 if place else 0,
                    start=start + place * rng.choice((1, SECOND, 40 * SECOND)), duration=took // (1 + place),
                    kind=rng.choice(KINDS), error=rng.random() < 0.2,
                    tags={"user": rng.choice(("ann", "bob")), "db.system.name": rng.choice(("redis", "mysql"))},
                ),
                service=service,
            )
            for place, (service, name) in enumerate((("shop", "buy"), ("cart", "pay"), ("cart", "look")))
        ]  # fmt: skip
        messages += [merged(*parts)] if rng.random() < 0.7 else parts
    return messages


def _row_limits(rng: random.Random) -> dict[str, Any]:
    """Limits of durations that are those of rows, as the links of cells have them."""
    first, last = sorted(rng.sample(range(heat.ROWS), 2))
    return {"shortest": heat.limits_of_row(first)[0], "longest": heat.limits_of_row(last)[1]}


def _queries(rng: random.Random) -> list[Query]:
    """One of every kind, over times of every length."""
    lines = (
        "", "root=true", "service=cart", "service=cart name=pay", "name!=buy", "kind=server", "system=redis", "error",
        "user=ann", "error OR user=bob", "service=cart user=ann", "root=false status!=error",
    )  # fmt: skip
    queries = []
    for line in lines:
        length = rng.choice((10 * MINUTE, HOUR, 20 * HOUR, 3 * DAY, 30 * DAY))
        end = NOON + 5 * HOUR - rng.randrange(2 * HOUR)
        queries.append(Query(rng.choice((end - length, 0)), end, where=parse(line).where))
    start, end = NOON - 10 * HOUR, NOON + 5 * HOUR
    queries += [Query(each, end, errors=True, service="shop") for each in (start, start - 5 * DAY)]
    queries += [Query(each, end, service="cart", **_row_limits(rng)) for each in (start, start - 5 * DAY)]
    queries += [Query(each, end, errors=True, **_row_limits(rng)) for each in (start, start - 5 * DAY)]
    queries.append(Query(0, 2**63 - 1))
    return queries


def _same(found: HeatMap, wanted: HeatMap) -> bool:
    return (found.complete, found.edges, found.cells, found.roots) == (True, wanted.edges, wanted.cells, wanted.roots)


@pytest.mark.parametrize("closed", [0, 60, 120])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 9))])
def test_a_map_counts_what_brute_force_counts(tmp_path: Path, seed: int, closed: int) -> None:
    """Of open days, of closed ones, and of closed ones to which more has come, by each of the three ways."""
    rng = random.Random(seed)
    messages = _week(rng)
    expected = write(tmp_path, messages[:closed])
    if closed:
        close(tmp_path)
    write(tmp_path, messages[closed:], expected)
    with Reader(tmp_path) as reader:
        for query in _queries(rng):
            found, wanted = reader.heat(query, seconds=60), expected.heat(query)
            assert _same(found, wanted), query


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), column=st.integers(0, 59), row=st.integers(0, heat.ROWS - 1))
def test_the_search_of_a_cell_finds_what_is_in_it(seed: int, column: int, row: int) -> None:
    """A search of its column's time and its row's durations has as many traces as the cell has marks."""
    reader = MemoryReader(_week(random.Random(seed), 40))
    query = Query(NOON - 10 * DAY, NOON + 6 * HOUR, where=heat.ROOT, limit=500)
    found = reader.heat(query)
    column %= len(found.edges) - 1
    shortest, longest = heat.limits_of_row(row)
    cell = next((each for each in found.cells if (each.column, each.row) == (column, row)), None)
    inner = replace(
        query, start=found.edges[column], end=found.edges[column + 1] - 1, shortest=shortest, longest=longest
    )
    assert reader.count(inner).traces == (cell.found if cell else 0)
    assert reader.heat(inner).count == (cell.found if cell else 0)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.usefixtures("large")
@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
@given(
    messages=some_messages(), queries=st.lists(QUERIES | TAGGED, min_size=10, max_size=10), closed=st.integers(0, 12)
)
def test_any_other_search_is_counted_by_traces(messages: list[TracesData], queries: list[Query], closed: int) -> None:
    """Whatever it asks for, if that is more than the tables tell, and whatever times the spans have."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        expected = write(path, messages[:closed])
        if closed:
            close(path)
        write(path, messages[closed:], expected)
        with Reader(path) as reader:
            for query in queries:
                if not (per_span(query) or whole(query) is None or query.limit <= 0):
                    found, wanted = reader.heat(query, seconds=60), expected.heat(query)
                    assert _same(found, wanted), query


def test_several_spans_of_an_operation_in_a_trace_are_one_mark_up_to_a_day(tmp_path: Path) -> None:
    """It is as long as the longest; if only a shorter one is within the limits, that one is found all the same."""
    took = (2 * MILLISECOND, 30 * MILLISECOND, 400 * MILLISECOND)
    spans = [span("query", id=at + 1, start=NOON + at * SECOND, duration=each) for at, each in enumerate(took)]
    write(tmp_path, [traces(*spans, service="shop")])
    with Reader(tmp_path) as reader:
        hour = Query(NOON - MINUTE, NOON + MINUTE, service="shop")
        assert [cell.row for cell in reader.heat(hour).cells] == [heat.row_of(took[2])]
        assert [cell.row for cell in reader.heat(replace(hour, longest=took[0])).cells] == [heat.row_of(took[0])]
        between = replace(hour, shortest=took[0] + 1, longest=took[2] - 1)
        assert [cell.row for cell in reader.heat(between).cells] == [heat.row_of(took[1])]
        week = replace(hour, start=NOON - 7 * DAY)
        assert [(cell.row, cell.found) for cell in reader.heat(week).cells] == [(heat.row_of(each), 1) for each in took]


def test_what_there_was_no_time_for_is_told(tmp_path: Path) -> None:
    """Without time nothing is counted, and the map says since when all were: it is not complete."""
    write(tmp_path, _week(random.Random(1), 20))
    with Reader(tmp_path) as reader:
        for line in ("", "user=ann"):
            found = reader.heat(Query(NOON - DAY, NOON + 6 * HOUR, where=parse(line).where), seconds=0)
            assert not found.complete
            assert found.count == 0


@given(duration=st.integers(0, 2**63 - 1))
def test_a_row_is_a_range_of_durations(duration: int) -> None:
    """Every duration is in exactly one row, whose limits have it between them; rows are whole buckets."""
    row = heat.row_of(duration)
    having = [
        each
        for each in range(heat.ROWS)
        if (limits := heat.limits_of_row(each))[0] <= duration and (limits[1] is None or duration <= limits[1])
    ]
    assert having == [row]
    assert heat.limits_of_row(row)[1] in (None, *BOUNDS)


@given(start=st.integers(0, 2**62), length=st.integers(0, 400 * DAY), whole=st.sampled_from([0, HOUR, DAY]))
def test_columns_cover_the_time(start: int, length: int, whole: int) -> None:
    """They go from the first nanosecond to the last, without a gap, and are about as many as were asked for."""
    edges = heat.column_edges(start, start + length, 60, whole=whole)
    assert edges[0] <= start
    assert edges[-1] > start + length
    assert list(edges) == sorted(set(edges))
    assert len(edges) <= 63
    if not whole:
        assert (edges[0], edges[-1]) == (start, start + length + 1)
