"""Figures by the minute, of spans that a store has, against sums of the spans themselves."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from causal_otel.collector.figures import MeasureSum, Selected, SeriesSum
from causal_otel.collector.query import Query, TraceReader
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.trends import minutes as by_minute
from causal_otel.collector.trends.callers import callers
from causal_otel.collector.trends.minutes import Minutes, minutes
from causal_otel.collector.trends.window import HOUR, MINUTE
from tests.collector import oracle_sums
from tests.collector.oracle import MemoryReader
from tests.collector.spans import MILLISECOND, NOON, span, spans_of, traces
from tests.collector.store.stores import write

START, END = NOON, NOON + HOUR - 1
ROUTE = Query(START, END, "shop", "GET /")


def _message(number: int, rng: random.Random) -> TracesData:
    """A caller, a request, and a query in it that waits for a pool; some fail, some are of another operation."""
    start = START + rng.randrange(-HOUR // 4, HOUR)
    took, failed = rng.randrange(20, 90) * MILLISECOND, rng.random() < 0.2

    def part(name: str, place: int, length: int, kind: int, **more: Any) -> Span:
        above = place and number * 10 + place - 1
        return span(
            name, trace=number, id=number * 10 + place, parent=above, start=start, duration=length, kind=kind, **more
        )

    edge = part("edge", 0, took, Span.SPAN_KIND_SERVER)
    name = "GET /" if rng.random() < 0.7 else "GET /other"
    handler = part(name, 1, took, Span.SPAN_KIND_SERVER, error=failed, tags={"causal.lock.wait": 0.004})
    tags = {"db.system.name": "postgresql", "causal.pool.wait": rng.randrange(1, 9) / 1000}
    query = part("SELECT", 2, took // 2, Span.SPAN_KIND_CLIENT, tags=tags)
    version = {"service.version": rng.choice(["1", "2"])}
    message = traces(handler, query, service="shop", resource=version)
    message.resource_spans.extend(traces(edge, service="gateway").resource_spans)
    return message


_RNG = random.Random(7)
MESSAGES = [_message(number, _RNG) for number in range(1, 201)]


@pytest.fixture(scope="module", params=["memory", "store"])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TraceReader]:
    """The spans, in memory and in a store."""
    if request.param == "memory":
        yield MemoryReader(MESSAGES)
        return
    directory = tmp_path_factory.mktemp("store")
    write(directory, [TracesData(resource_spans=[group for each in MESSAGES for group in each.resource_spans])])
    with Reader(directory) as found:
        yield found


def _sums(found: Sequence[SeriesSum]) -> list[tuple[Any, ...]]:
    return sorted(
        (each.series, each.start, each.calls, each.errors, each.total, each.longest, each.durations.encode())
        for each in found
    )


def _told(found: Sequence[MeasureSum]) -> list[tuple[Any, ...]]:
    return sorted((each.series, each.start, each.key, each.label, each.spans, each.total) for each in found)


@pytest.mark.parametrize(
    ("query", "selected"),
    [
        (ROUTE, Selected("shop", "GET /")),
        (ROUTE, Selected("shop", "GET /", version="2")),
        (Query(START, END, "shop"), Selected("shop")),
        (Query(START, END, "shop"), Selected("shop", entries=True)),
    ],
    ids=["operation", "version", "service", "entries"],
)
def test_every_minute_is_that_of_its_spans(reader: TraceReader, query: Query, selected: Selected) -> None:
    """Calls, failures, durations, and what spans and those below them told; nothing of before or after."""
    found = minutes(reader, query, seconds=60)
    assert found.complete_since == START
    sums = found.series(selected, START, END, "minute")
    assert _sums(sums) == _sums(oracle_sums.series(MESSAGES, selected, START, END, "minute"))
    assert len({each.start for each in sums}) > 20
    told = found.measures(selected, START, END, "minute")
    assert _told(told) == _told(oracle_sums.measures(MESSAGES, selected, START, END, "minute", ()))
    assert {each.key for each in told} >= {"causal.lock.wait", "causal.pool.wait"}


def test_steps_and_times_within(reader: TraceReader) -> None:
    """The sums of a part of the time are those of its minutes; only the keys that were asked for are told."""
    found, selected = minutes(reader, ROUTE, seconds=60), Selected("shop", "GET /")
    start, end = START + 10 * MINUTE, START + 40 * MINUTE - 1
    by_minute = [each for each in found.series(selected, START, END, "minute") if start <= each.start <= end]
    (*whole,) = found.series(selected, start, end, "all")
    assert sum(each.calls for each in whole) == sum(each.calls for each in by_minute) > 0
    assert sum(each.total for each in whole) == sum(each.total for each in by_minute)
    keys = {each.key for each in found.measures(selected, start, end, "hour", ["causal.pool.wait"])}
    assert keys == {"causal.pool.wait"}


def test_calls_are_those_that_the_store_counts(reader: TraceReader) -> None:
    """By the day."""
    found, selected = minutes(reader, ROUTE, seconds=60), Selected("shop", "GET /")
    assert callers(found, selected, START, END) == callers(reader, selected, START, END) != []


@pytest.mark.parametrize("most", [1, 2, 7, 40])
def test_what_is_told_of_a_part_is_complete(reader: TraceReader, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not all could be read, it says since when all were, and from then on nothing is missing."""
    monkeypatch.setattr(by_minute, "_MOST_TRACES", most)
    found, selected = minutes(reader, ROUTE, seconds=60), Selected("shop", "GET /")
    assert START < found.complete_since <= END
    first = -(-found.complete_since // MINUTE) * MINUTE
    whole = [each for each in oracle_sums.series(MESSAGES, selected, START, END, "minute") if each.start >= first]
    assert _sums(found.series(selected, first, END, "minute")) == _sums(whole)
    assert bool(whole) is (most >= 7)


def test_no_time_to_read_anything(reader: TraceReader) -> None:
    """Then nothing is told of any time."""
    found = minutes(reader, ROUTE, seconds=0)
    assert isinstance(found, Minutes)
    assert found.complete_since > END
    assert found.series(Selected("shop"), START, END, "all") == []


def test_a_time_without_spans(reader: TraceReader) -> None:
    """There is nothing, and that is known of all of the time."""
    query = Query(START - 8 * HOUR, START - 7 * HOUR, "shop", "GET /")
    found = minutes(reader, query, seconds=60)
    assert found.complete_since == query.start
    assert found.series(Selected("shop"), query.start, query.end, "minute") == []


def test_what_the_messages_are() -> None:
    """There are some before the time, which nothing must count."""
    starts = [each.start_time_unix_nano for message in MESSAGES for each in spans_of(message)]
    assert min(starts) < START < max(starts)
