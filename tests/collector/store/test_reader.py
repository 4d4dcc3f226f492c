"""The reader answers as brute force does."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from causal_otel.collector.expressions import tags
from causal_otel.collector.figures import OperationStatistics
from causal_otel.collector.query import Query, TraceReader
from causal_otel.collector.store import days
from causal_otel.collector.store.open_days import OpenDays
from causal_otel.collector.store.reader import Reader
from tests.collector.oracle import MemoryReader
from tests.collector.spans import (
    HOUR,
    MILLISECOND,
    MINUTE,
    NOON,
    SECOND,
    merged,
    request,
    span,
    spans_of,
    trace_id,
    traces,
)
from tests.collector.store.stores import EVER, close, contents, write, writing

DAY = 24 * HOUR
SYSTEMS: tuple[dict[str, str], ...] = (
    {},
    {"db.system.name": "redis"},
    {"http.request.method": "GET", "server.address": "a.example"},
    {"http.request.method": "GET", "server.address": "b.example"},
)
TODAY = days.day_of(NOON)


@st.composite
def _spans(draw: st.DrawFn) -> list[TracesData]:
    """Requests of whole spans, each span once, some traces over midnight and some that last for long."""
    messages: list[TracesData] = []
    for number in range(draw(st.integers(1, 8))):
        groups: list[TracesData] = []
        for service in draw(st.lists(st.sampled_from(["shop", "cart", None]), min_size=1, max_size=2)):
            spans = []
            for index in range(draw(st.integers(1, 4))):
                start = NOON + draw(st.integers(-30 * 60, 60)) * MINUTE + number * 1000 + index
                spans.append(
                    span(
                        draw(st.sampled_from(["buy", "pay"])),
                        trace=draw(st.integers(1, 4)),
                        id=100 * len(messages) + 10 * len(groups) + index + 1,
                        parent=draw(st.sampled_from([0, 1, 101, 12, 5000])),
                        start=start,
                        duration=draw(st.sampled_from([0, MILLISECOND, SECOND, 2 * HOUR])),
                        kind=draw(st.integers(0, 5)),
                        error=draw(st.booleans()),
                        tags=draw(st.sampled_from(SYSTEMS)),
                    )
                )
            groups.append(traces(*spans, service=service))
        messages.append(merged(*groups))
    return messages


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(messages=_spans(), start=st.integers(-30 * 60, 60), length=st.integers(0, 20 * 60), closed=st.integers(0, 8))
def test_everything_that_can_be_asked_is_answered_as_brute_force_does(
    messages: list[TracesData], start: int, length: int, closed: int
) -> None:
    """Names, traces, summaries, statistics, calls and ids: from open and closed days, and what came late."""
    begin = NOON + start * MINUTE
    end = begin + length * MINUTE
    with tempfile.TemporaryDirectory() as name, Reader(Path(name)) as reader:
        expected = write(Path(name), messages[:closed])
        close(Path(name))
        write(Path(name), messages[closed:], expected)
        _same(reader, expected, begin, end)
        close(Path(name))
        _same(reader, expected, begin, end)
        assert reader.dependencies(begin, end) == expected.dependencies(begin, end)


def _same(reader: TraceReader, expected: MemoryReader, begin: int, end: int) -> None:
    everything = [trace_id(number) for number in range(6)]
    assert reader.services() == expected.services()
    for service in (*expected.services(), "nobody"):
        for span_kind in (None, "server", "internal", "odd"):
            assert reader.operations(service, span_kind) == expected.operations(service, span_kind)
    assert reader.summaries(everything) == expected.summaries(everything)
    assert [contents(each) for each in reader.traces(everything)] == [
        contents(each) for each in expected.traces(everything)
    ]
    for each in everything:
        wanted = expected.trace(each)
        found = reader.trace(each)
        assert (found is None) == (wanted is None)
        assert found is None or contents(found) == contents(wanted)
    assert sorted(reader.trace_ids(begin, end)) == sorted(expected.trace_ids(begin, end))
    filters: list[dict[str, Any]] = [{}, {"service": "shop"}, {"service": "nobody"}, {"errors": True}]
    for kind in filters:
        assert set(reader.recent(100, **kind).trace_ids) == set(expected.recent(100, **kind).trace_ids)
    for service_or_all in (None, "shop", "nobody"):
        answer = reader.statistics(begin, end, service_or_all)
        right = expected.statistics(begin, end, service_or_all)
        assert list(map(_exact, answer)) == list(map(_exact, right))
        for estimated, exact in zip(answer, right, strict=True):
            assert sum(count for _, count in estimated.buckets) == exact.calls
            assert exact.longest >= estimated.p99 >= estimated.p95 >= estimated.p50
    volume = reader.volume()
    assert sum(day.spans for day in volume.days) == sum(day.spans for day in expected.volume().days)
    assert volume.damaged == ()


def _exact(each: OperationStatistics) -> tuple[object, ...]:
    """What of it is no estimate."""
    return each.service, each.operation, each.kind, each.system, each.calls, each.errors, each.total, each.longest


def test_a_span_that_was_received_twice_is_in_its_trace_once(tmp_path: Path, reader: Reader) -> None:
    """In one request, in another one, and under another resource; one that differs is kept."""
    first = span(trace=1, id=1, tags={"a": 1})
    other = span(trace=1, id=1, tags={"a": 2})
    write(tmp_path, [traces(first, first, span(trace=1, id=2)), traces(first, other), traces(first, service="else")])
    trace = reader.trace(trace_id(1))
    assert trace is not None
    assert [each.span_id[-1] for each in spans_of(trace)] == [1, 2, 1]
    assert len(trace.resource_spans) == 1 or not trace.resource_spans[1].scope_spans[0].spans
    assert reader.summaries([trace_id(1)])[0].spans == 3


def test_percentiles_are_right_to_a_tenth(tmp_path: Path, reader: Reader) -> None:
    """They come from buckets a tenth wide, of all hours and days together."""
    spans = [span(start=NOON - (n % 40) * HOUR, duration=(n + 1) * MILLISECOND) for n in range(1000)]
    write(tmp_path, [traces(*spans)])
    (found,) = reader.statistics(*EVER)
    for share, estimate in ((0.5, found.p50), (0.95, found.p95), (0.99, found.p99)):
        assert 0.9 * share * 1000 * MILLISECOND <= estimate <= 1.12 * share * 1000 * MILLISECOND
    assert found.longest == 1000 * MILLISECOND


def test_a_directory_that_is_empty_or_missing_is_an_empty_store(tmp_path: Path) -> None:
    """Nothing is made there either."""
    for directory in (tmp_path, tmp_path / "missing"):
        with Reader(directory) as reader:
            assert reader.services() == []
            assert reader.operations("shop") == []
            assert reader.search(Query(*EVER)).trace_ids == ()
            assert reader.trace(trace_id(1)) is None
            assert reader.summaries([trace_id(1)]) == []
            assert list(reader.trace_ids(*EVER)) == []
            assert reader.recent(5).trace_ids == ()
            assert reader.volume().days == ()
            assert reader.dependencies(*EVER) == []
            assert reader.statistics(*EVER) == []
    assert list(tmp_path.iterdir()) == []


def test_what_is_committed_is_seen_at_once(tmp_path: Path, reader: Reader) -> None:
    """By a reader that has read before; also in a day that was not there, and of a resource that was not."""
    with writing(tmp_path) as writer:
        for number, start in enumerate((NOON, NOON, NOON - DAY, NOON + HOUR), 1):
            message = traces(span(trace=number, start=start), resource={"number": number})
            writer.put(request(message)).result(30)
            assert contents(reader.trace(trace_id(number))) == contents(message)
            assert set(reader.search(Query(*EVER)).trace_ids) == {trace_id(each) for each in range(1, number + 1)}
            assert trace_id(number) in reader.recent(10).trace_ids
            assert reader.search(Query(*EVER, where=tags((("number", str(number)),)))).trace_ids == (trace_id(number),)


def test_recent_traces_are_those_received_last(tmp_path: Path, reader: Reader) -> None:
    """Within a day by their arrival, whenever they started."""
    write(tmp_path, [traces(span(trace=n, start=NOON - n * MINUTE)) for n in (1, 2, 3)] + [traces(span(trace=1))])
    assert list(reader.recent(10).trace_ids) == [trace_id(1), trace_id(3), trace_id(2)]
    assert list(reader.recent(2).trace_ids) == [trace_id(1), trace_id(3)]
    assert list(reader.recent(0).trace_ids) == []


@pytest.mark.parametrize("closed", [False, True])
def test_a_quiet_service_is_found_behind_whatever_others_have_sent(tmp_path: Path, closed: bool) -> None:
    """And the failed traces, too: what is asked for is looked up, not filtered out of what came last."""
    quiet = [traces(span(trace=number), service="quiet") for number in (1, 2)]
    failed = [traces(span(trace=number, error=True), service="failing") for number in (3, 4)]
    busy = [traces(*[span(trace=1000 + 100 * part + n) for n in range(100)], service="busy") for part in range(6)]
    write(tmp_path, [quiet[0], failed[0], *busy[:3], quiet[1], failed[1], *busy[3:]])
    if closed:
        close(tmp_path)
    with Reader(tmp_path) as reader:
        assert set(reader.recent(50, service="quiet").trace_ids) == {trace_id(1), trace_id(2)}
        assert set(reader.recent(50, errors=True).trace_ids) == {trace_id(3), trace_id(4)}
        assert set(reader.recent(50, service="failing", errors=True).trace_ids) == {trace_id(3), trace_id(4)}
        assert reader.recent(50, service="quiet", errors=True).trace_ids == ()
        assert reader.recent(50, service="nobody").trace_ids == ()
        assert len(reader.recent(50, service="busy").trace_ids) == 50


@pytest.mark.parametrize("closed", [False, True])
def test_what_came_since_is_told_and_what_had_no_room_is_counted(tmp_path: Path, closed: bool) -> None:
    """Also of another day, and where a span of another service makes a trace one that is asked for."""
    write(tmp_path, [traces(span(trace=1), service="quiet"), traces(span(trace=2), service="busy")])
    if closed:
        close(tmp_path)
    with Reader(tmp_path) as reader:
        kinds: list[dict[str, Any]] = [{}, {"service": "quiet"}, {"errors": True}, {"service": "quiet", "errors": True}]
        marks = [reader.recent(10, **kind).mark for kind in kinds]
        for kind, mark in zip(kinds, marks, strict=True):
            recent = reader.recent(10, after=mark, **kind)
            assert (recent.trace_ids, recent.more) == ((), 0)
        many = [span(trace=number) for number in range(10, 40)]
        yesterday = span(trace=3, start=NOON - DAY)
        write(tmp_path, [traces(*many, span(trace=1, error=True), service="busy"), traces(yesterday, service="quiet")])
        found = [reader.recent(3, after=mark, **kind) for kind, mark in zip(kinds, marks, strict=True)]
        assert [each.more for each in found] == [29, 0, 0, 0]
        assert len(found[0].trace_ids) == 3
        assert set(found[1].trace_ids) == {trace_id(1), trace_id(3)}
        assert found[2].trace_ids == found[3].trace_ids == (trace_id(1),)
        assert reader.recent(3, after=found[0].mark).trace_ids == ()


def test_a_trace_over_midnight_is_one_trace(tmp_path: Path, reader: Reader) -> None:
    """Its spans are in two files, or in the one of the earlier day; it is found by either."""
    midnight = NOON - 12 * HOUR
    write(
        tmp_path,
        [
            traces(span("early", trace=1, start=midnight - SECOND), span("late", trace=1, start=midnight + SECOND)),
            traces(span("later", trace=1, start=midnight + HOUR)),
        ],
    )
    for operation in ("early", "late", "later"):
        assert reader.search(Query(*EVER, operation=operation)).trace_ids == (trace_id(1),)
    assert reader.search(Query(midnight, midnight + MINUTE)).trace_ids == (trace_id(1),)
    assert list(reader.trace_ids(midnight, midnight + MINUTE)) == [trace_id(1)]
    assert list(reader.trace_ids(midnight + MINUTE, midnight + HOUR - 1)) == []
    assert reader.summaries([trace_id(1)])[0].spans == 3


def test_connections_are_kept_but_not_too_many(tmp_path: Path) -> None:
    """Each question gets one of its own; of those given back only a few are kept."""
    write(tmp_path, [traces(span(trace=1))])
    open_days = OpenDays(tmp_path)
    (day,) = open_days.present()
    with day.reading() as first, day.reading() as second, day.reading() as third:
        assert len({id(first), id(second), id(third)}) == 3
    with day.reading() as again:
        assert again in (first, second, third)
    closed = 0
    for connection in (first, second, third):
        try:
            connection.execute("SELECT 1")
        except sqlite3.ProgrammingError:
            closed += 1
    assert closed == 1
    open_days.close()
    with pytest.raises(sqlite3.ProgrammingError):
        again.execute("SELECT 1")


def test_unknown_kinds_are_unspecified(tmp_path: Path, reader: Reader) -> None:
    """As everywhere else."""
    write(tmp_path, [traces(span(trace=1, kind=77)), traces(span(trace=2, kind=Span.SPAN_KIND_SERVER))])
    assert reader.search(Query(*EVER, kind="unspecified")).trace_ids == (trace_id(1),)
    assert [each.kind for each in reader.operations("shop")] == ["server", "unspecified"]
