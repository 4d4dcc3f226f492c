"""Figures of trends, told by a store of open, closed and late days, against the spans themselves."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from causal_otel.collector.figures import Selected
from causal_otel.collector.matching import span_duration
from causal_otel.collector.query import TraceReader
from causal_otel.collector.store.histogram import BOUNDS, bucket
from causal_otel.collector.store.reader import Reader
from causal_otel.collector.trends.callers import callees, callers
from causal_otel.collector.trends.rates import rates, rates_of_bins
from causal_otel.collector.trends.sides import around, between_versions, days_around
from causal_otel.collector.trends.time_parts import KEYS, OWN, TimePart, time_parts, time_parts_of_bins
from causal_otel.collector.trends.window import DAY, Window
from tests.collector.oracle import MemoryReader
from tests.collector.spans import HOUR, MILLISECOND, NOON, span, spans_of, traces
from tests.collector.store.stores import close, write

NOW = NOON + 5 * HOUR
SERVER, CLIENT, CONSUMER = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_CONSUMER
ROUTE = Selected("shop", "GET /")
WINDOWS = (Window.back(DAY, NOW), Window.back(3 * DAY, NOW), Window.back(20 * DAY, NOW))


@dataclass(frozen=True, slots=True)
class _Request:
    """A request that the oracle counts: its spans, and what they have told in nanoseconds."""

    root: Span
    query: Span
    version: str
    parts: dict[str, int]
    queue: int


def _request(number: int, rng: random.Random) -> tuple[_Request, TracesData]:
    """A caller, the request, a query in it and a call beside that; sometimes more than the request took."""
    start = NOW - int(rng.random() ** 2 * 18 * DAY)
    pool, server, lock = (rng.randrange(1, 40) * MILLISECOND for _ in range(3))
    rest, call = rng.randrange(1, 9) * MILLISECOND, rng.randrange(1, 60) * MILLISECOND
    whole = max(1, pool + server + lock + rest + rng.randrange(-30, 90) * MILLISECOND)
    version, error = ("2" if start > NOW - 4 * DAY else "1"), rng.random() < 0.2
    queue = rng.choice([0, 7 * MILLISECOND])

    def part(name: str, id: int, parent: int, length: int, kind: int, **more: Any) -> Span:
        return span(
            name, trace=number, id=number * 10 + id, parent=parent and number * 10 + parent, start=start,
            duration=length, kind=kind, **more,
        )  # fmt: skip

    own = {"causal.lock.wait": lock / 1e9} | ({"causal.queue.wait": queue / 1e9} if queue else {})
    root = part("GET /", 2, 1, whole, SERVER, error=error, tags=own)
    database = {"db.system.name": "postgresql", "causal.pool.wait": pool / 1e9, "causal.server": server / 1e9}
    query = part("SELECT", 3, 2, pool + server + rest, CLIENT, error=error, tags=database)
    beside = part("GET", 4, 2, call, CLIENT, tags={"db.system.name": "redis"})
    message = traces(root, query, beside, service="shop", resource={"service.version": version})
    above = traces(part("edge", 1, 0, whole, SERVER), service="gateway")
    message.resource_spans.extend(above.resource_spans)
    parts = {"causal.lock.wait": lock, "causal.pool.wait": pool, "causal.server": server}
    return _Request(root, query, version, {**parts, "postgresql": rest, "redis": call}, queue), message


def _made() -> tuple[list[_Request], list[TracesData]]:
    rng = random.Random(11)
    made = [_request(number, rng) for number in range(1, 161)]
    return [each for each, _ in made], [message for _, message in made]


REQUESTS, MESSAGES = _made()


@pytest.fixture(scope="module", params=["memory", "open", "closed", "late"])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TraceReader]:
    """The spans, kept in memory, on open days, on closed ones, and on closed ones to which some came late."""
    if request.param == "memory":
        yield MemoryReader(MESSAGES)
        return
    directory = tmp_path_factory.mktemp("store")
    early = 100 if request.param == "late" else len(MESSAGES)
    write(directory, [_together(MESSAGES[:early])])
    if request.param != "open":
        close(directory)
    if MESSAGES[early:]:
        write(directory, [_together(MESSAGES[early:])])
    with Reader(directory) as found:
        yield found


def _together(messages: Sequence[TracesData]) -> TracesData:
    return TracesData(resource_spans=[group for each in messages for group in each.resource_spans])


def _within(start: int, end: int, wanted: Callable[[_Request], bool] = lambda _: True) -> list[_Request]:
    return [each for each in REQUESTS if start <= each.root.start_time_unix_nano < end and wanted(each)]


def _total(requests: Sequence[_Request]) -> int:
    return sum(span_duration(each.root) for each in requests)


def _parts_of(requests: Sequence[_Request]) -> dict[str, float]:
    """Where time went, by the name of the attribute or of the system, and what is left; scaled if it is too much."""
    told: dict[str, float] = {}
    for each in requests:
        for name, length in each.parts.items():
            told[name] = told.get(name, 0) + length
    total, measured = _total(requests), sum(told.values())
    if measured > total:
        return {name: length * total / measured for name, length in told.items()}
    return {**told, "own": total - measured} if total > measured else told


def _named(parts: dict[TimePart, int]) -> dict[str, float]:
    return {part.system or part.key: length for part, length in parts.items()}


@pytest.mark.parametrize("window", WINDOWS, ids=["hours", "hours of days", "days"])
def test_rates(reader: TraceReader, window: Window) -> None:
    """Calls, errors, means, quantiles and the longest of every bin are those of its spans."""
    sums = reader.series(ROUTE, window.start, window.last, window.step)
    bins = rates_of_bins(sums, window)
    assert [each for each, _ in bins] == list(window.bins)
    for each, found in [*bins, (None, rates(sums))]:
        spans = [one.root for one in (_within(each.start, each.end) if each else _within(window.start, window.end))]
        lengths = sorted(map(span_duration, spans))
        assert (found.calls, found.total, found.longest) == (len(spans), sum(lengths), max(lengths, default=0))
        assert found.errors == sum(one.status.code == 2 for one in spans)
        assert found.mean == (sum(lengths) // len(lengths) if lengths else 0)
        for share in (0.5, 0.95, 0.99):
            place = next((place for place in range(len(lengths)) if place + 1 >= share * len(lengths)), None)
            expected = 0 if place is None else min(BOUNDS[bucket(lengths[place])], lengths[-1])
            assert found.quantile(share) == expected
    assert rates(sums).calls > 20


@pytest.mark.parametrize("window", WINDOWS, ids=["hours", "hours of days", "days"])
def test_time_parts(reader: TraceReader, window: Window) -> None:
    """Parts are those that the request and the spans below it tell, they add up, and are scaled where they must."""
    measures = reader.measures(ROUTE, window.start, window.last, window.step, KEYS)
    totals = [_total(_within(each.start, each.end)) for each in window.bins]
    scaled = 0
    for each, found in zip(window.bins, time_parts_of_bins(measures, totals, window), strict=True):
        requests = _within(each.start, each.end)
        assert sum(found.parts.values()) == found.total == _total(requests)
        assert _named(found.parts) == pytest.approx(_parts_of(requests), abs=len(KEYS) * 2)
        assert sum(found.before.values()) == sum(one.queue for one in requests)
        assert set(found.before) <= {"queue wait"}
        scaled += found.scaled < 1
    if window.step == "hour":
        assert scaled


def test_parts_have_names(reader: TraceReader) -> None:
    """They are called as on the page of a trace, calls by what is called; what happens first comes first."""
    found = time_parts(reader.measures(ROUTE, 0, NOW, "all", KEYS), 10**15)
    labels = [part.label for part in found.parts]
    assert labels == ["pool wait", "lock wait", "server", "calls to PostgreSQL", "calls to Redis", "own"]


def test_callers_and_callees(reader: TraceReader) -> None:
    """Those on the days of the time are counted, with the time that they took."""
    window = WINDOWS[2]
    requests = _within(window.start, window.end)
    (caller,) = callers(reader, ROUTE, window.start, window.last)
    assert (caller.other.service, caller.other.operation, caller.share) == ("gateway", "edge", 1.0)
    assert (caller.calls, caller.total) == (len(requests), _total(requests))
    assert caller.errors == sum(each.root.status.code == 2 for each in requests)
    found = {each.other.system: each for each in callees(reader, ROUTE, window.start, window.last)}
    assert found["postgresql"].total == sum(span_duration(each.query) for each in requests)
    assert found["redis"].total == sum(each.parts["redis"] for each in requests)
    assert sum(each.share for each in found.values()) == pytest.approx(1)
    assert found["redis"].mean == found["redis"].total // len(requests)


@pytest.mark.parametrize("window", WINDOWS[1:], ids=["hours of days", "days"])
def test_before_and_after(reader: TraceReader, window: Window) -> None:
    """Both sides are those of the spans on each side of the moment, and the parts add up to the difference."""
    moment = NOW - 40 * HOUR
    found = around(reader, ROUTE, window, moment)
    start = moment // HOUR * HOUR
    sides = _within(window.start, start), _within(start, window.end)
    for side, requests in zip((found.before, found.after), sides, strict=True):
        assert (side.rates.calls, side.rates.total) == (len(requests), _total(requests))
        assert side.rates.errors == sum(each.root.status.code == 2 for each in requests)
        assert _named(side.time.parts) == pytest.approx(_parts_of(requests), abs=20)
    assert sum(each.difference for each in found.parts) == found.difference
    assert sum(each.share for each in found.parts) == pytest.approx(1 if found.difference else 0)
    means = [each.difference for each in found.parts]
    assert means == sorted(means, reverse=found.difference >= 0)
    days = days_around(window, start)
    assert days
    for side, (first, last) in zip((found.before, found.after), days, strict=True):
        requests = _within(first, last)
        assert side.counted == len(requests)
        assert sum(each.calls for each in side.callers) == len(requests)
        assert sum(each.calls for each in side.callees) == 2 * len(requests)
    assert all(each.each_after == pytest.approx(1) for each in (*found.callers, *found.callees) if each.after)


def test_versions(reader: TraceReader) -> None:
    """Versions are compared by their own spans, wherever in the time they are."""
    window = WINDOWS[2]
    found = between_versions(reader, ROUTE, window, "1", "2")
    for side, version in ((found.before, "1"), (found.after, "2")):
        requests = _within(window.start, window.end, lambda each, name=version: each.version == name)  # type: ignore[misc]
        assert side.rates.calls == side.counted == len(requests) > 10
        assert _named(side.time.parts) == pytest.approx(_parts_of(requests), abs=20)
        days = {each.root.start_time_unix_nano // DAY for each in requests}
        today = NOW // DAY
        assert side.seconds == sum((NOW - NOW // DAY * DAY) / 1e9 if day == today else 86_400 for day in days)
    assert sum(each.difference for each in found.parts) == found.difference


def test_a_version_without_calls(reader: TraceReader) -> None:
    """A side without calls has no parts, and nothing is divided by nothing."""
    found = between_versions(reader, ROUTE, WINDOWS[2], "nothing", "2")
    assert found.before.rates.calls == 0
    assert sum(each.difference for each in found.parts) == found.difference == found.after.rates.mean
    assert {each.before for each in found.callees} == {None}


def test_a_moment_without_whole_days(reader: TraceReader) -> None:
    """Within two days no day is wholly before and none wholly after it: callers and callees are not compared."""
    window = WINDOWS[0]
    assert days_around(window, NOW - 3 * HOUR) is None
    found = around(reader, ROUTE, window, NOW - 3 * HOUR)
    assert found.callers == found.callees == ()
    assert OWN in {each.part for each in found.parts}


def test_every_span_is_one_of_a_request() -> None:
    """The oracle leaves out nothing: each message has a request with its two calls, and its caller."""
    assert sum(len(list(spans_of(each))) for each in MESSAGES) == 4 * len(REQUESTS)
