"""The page of a service: how what it was asked went over time, its operations, its pools and its versions."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from starlette.routing import Route

from causal_otel.collector.expressions import Field, all_of
from causal_otel.collector.figures import Selected
from causal_otel.collector.query import Query
from causal_otel.collector.store.measures import BELOW_LABEL
from causal_otel.collector.trends.callers import called_by, callers
from causal_otel.collector.trends.rates import Rates, rates, rates_of_bins
from causal_otel.collector.trends.time_parts import KEYS
from causal_otel.collector.web.comparing import comparing
from causal_otel.collector.web.examples import examples
from causal_otel.collector.web.operation_page import MOST_CALLED, by_minute, common, read_window
from causal_otel.collector.web.partial import partial_result
from causal_otel.collector.web.templating import colours, page
from causal_otel.collector.web.trend_state import TrendState, version_name
from causal_otel.collector.web.trend_views import trend
from causal_otel.names import CAUSAL_POOL_SIZE, CAUSAL_POOL_WAIT, CAUSAL_POOL_WAITING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.collector.figures import MeasureSum, SeriesSum
    from causal_otel.collector.query import Summary, TraceReader
    from causal_otel.collector.trends.callers import Called
    from causal_otel.collector.trends.window import Window
    from causal_otel.collector.web.examples import Example

__all__ = ["MANY", "Pool", "routes"]

MANY = 1000
"""Operations of a service; one with more has figures by the day, of which a store has the sums ready."""

_MOST_OPERATIONS = 200
_MOST_POOLS = 50
_SPARK_BARS = 48
_SPARK_WIDTH, _SPARK_HEIGHT = 96, 20
_ENTRIES = ("server", "consumer")
_CALLS = ("client", "producer")
_POOL_KEYS = (CAUSAL_POOL_SIZE, CAUSAL_POOL_WAIT, CAUSAL_POOL_WAITING)


class _Key(NamedTuple):
    operation: str
    kind: str
    system: str


@dataclass(frozen=True, slots=True)
class _Row:
    """An operation: how it went, and two sparklines, of calls as bars and of p95 as the points of a line."""

    key: _Key
    entry: bool
    rates: Rates
    bars: tuple[tuple[float, float, float], ...]
    line: str


class _Version(NamedTuple):
    name: str
    rates: Rates
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of connections, as spans tell of it that waited for one.

    Attributes:
        name: what it is for.
        size: connections at the most; 0: not told.
        waits: spans that waited.
        total: nanoseconds that they waited.
        longest: of one of them.
        waiting: how many others waited, at the most.
        trace: which trace has waited longest, as hexadecimal.
    """

    name: str
    size: int
    waits: int
    total: int
    longest: int
    waiting: int
    trace: str


def routes(reader: TraceReader) -> list[Route]:
    """``/service``."""

    def service(request: Request) -> Response:  # not async: it is called from a thread
        state, now = TrendState.read(request.query_params), time.time_ns()
        if not state.service:
            context = {
                "heading": "Which service?",
                "message": "The address of a service's page has its name. The map has links to all of them.",
            }
            return page(request, "error.html", context, status=400)
        return _show(request, reader.bounded(), state, now)

    return [Route("/service", service)]


def _show(request: Request, reader: TraceReader, state: TrendState, now: int) -> Response:
    window, problem = read_window(state, now)
    many = window.step == "hour" and len(reader.operations(state.service)) > MANY
    if many:
        window = window.by_day()
    figures, window = by_minute(reader, Query(window.start, window.last, state.service), window)
    selected = state.selected(any_version=True, entries=True)
    everything = figures.series(Selected(state.service), window.start, window.last, window.step)
    version = version_name(state.version)
    versions = _versions([each for each in everything if each.series.entry])
    sums = [each for each in everything if version in (None, each.series.version)]
    measures = [
        each
        for each in figures.measures(selected, window.start, window.last, window.step, KEYS)
        if version in (None, each.series.version)
    ]
    compared, mistake = comparing(figures, selected, state, window)
    drawn = trend(window, [each for each in sums if each.series.entry], measures, compared.moment if compared else None)
    rows = _rows(sums, window)
    pools = _pools(figures.measures(Selected(state.service), window.start, window.last, "all", _POOL_KEYS))
    above = callers(reader, replace(selected, version=version), window.start, window.last)
    below = _callees(reader, Selected(state.service, version=version), window)
    found = _examples(reader, state, window, [each for each in sums if each.series.entry])
    others = {each.other.service for each in (*above, *below)}
    others |= {each.root_service for _, some, _ in found for each in some}
    if compared:
        others |= {each.other.service for each in (*compared.change.callers, *compared.change.callees)}
    problem = " ".join(filter(None, (problem, mistake)))
    context = common(reader, state, window, tuple(each.name for each in versions)) | {
        "path": "/service",
        "trend": drawn,
        "comparing": compared,
        "groups": state.groups(window, compared.moment, any_operation=True) if compared else "",
        "many": MANY if many else 0,
        "operations": rows[:_MOST_OPERATIONS],
        "hidden": max(0, len(rows) - _MOST_OPERATIONS),
        "examples": found,
        "callers": above[:MOST_CALLED],
        "callees": below[:MOST_CALLED],
        "left_out": [max(0, len(some) - MOST_CALLED) for some in (above, below)],
        "pools": pools[:_MOST_POOLS],
        "rows": versions,
        "problem": problem,
        **partial_result(reader.since, window.start),
        "colours": colours({state.service, *others}),
    }
    return page(request, "service.html", context, status=400 if problem else 200)


def _callees(reader: TraceReader, selected: Selected, window: Window) -> list[Called]:
    """What the service's spans called: by its own calls, or by what was called where these are not traced."""
    sums = [
        each
        for each in reader.calls(selected, Selected(), window.start, window.last)
        if (each.child.kind in _CALLS if each.child.service == selected.service else each.parent.kind not in _CALLS)
    ]
    return called_by(sums, lambda each: each.child, lambda each: each.total)


def _examples(
    reader: TraceReader, state: TrendState, window: Window, sums: Sequence[SeriesSum]
) -> list[tuple[Example, list[Summary], str]]:
    """Traces of what begins in the service, by what most of it is: requests, messages or roots; and where more are."""
    kinds = Counter[str]()
    for each in sums:
        kinds[each.series.kind if each.series.kind in _ENTRIES else ""] += each.calls
    if not kinds:
        return []
    kind = kinds.most_common(1)[0][0]
    some = [each for each in sums if (each.series.kind if each.series.kind in _ENTRIES else "") == kind]
    query = replace(state.query(window), operation=None, kind=kind or None)
    asked = {"operation": "", "kind": kind}
    if not kind:
        query = replace(query, where=all_of(query.where, Field("root", "=", "true")))
        asked["q"] = "root=true"
    return [
        (each, reader.summaries(each.trace_ids), state.search(window, **asked, **each.search))
        for each in examples(reader, query, rates(some))
    ]


def _rows(sums: Iterable[SeriesSum], window: Window) -> list[_Row]:
    """The operations: what begins something first, then those that took most time."""
    found: dict[_Key, list[SeriesSum]] = {}
    for each in sums:
        series = each.series
        found.setdefault(_Key(series.operation, series.kind, series.system), []).append(each)
    rows = []
    for key, some in found.items():
        bars, line = _sparks(some, window)
        rows.append(_Row(key, any(each.series.entry for each in some), rates(some), bars, line))
    return sorted(rows, key=lambda row: (not row.entry, -row.rates.total, row.key))


def _sparks(sums: Sequence[SeriesSum], window: Window) -> tuple[tuple[tuple[float, float, float], ...], str]:
    """Calls as bars (x, width and height, 0 to 1) and p95 as points, in :data:`_SPARK_BARS` groups at most."""
    bins = [found for _, found in rates_of_bins(sums, window)]
    every = -(-len(bins) // _SPARK_BARS)
    groups = [bins[place : place + every] for place in range(0, len(bins), every)]
    wide = _SPARK_WIDTH / len(groups)
    calls = [sum(each.calls for each in group) for group in groups]
    slow = [max((each.quantile(0.95) for each in group if each.calls), default=None) for group in groups]
    most, slowest = max(calls), max((each for each in slow if each is not None), default=0)
    bars = tuple(
        (round(place * wide, 2), round(max(0.8, wide - 0.6), 2), round(each / most, 3))
        for place, each in enumerate(calls)
        if each
    )
    points = [
        f"{(place + 0.5) * wide:.1f},{_SPARK_HEIGHT - 1 - each / max(1, slowest) * (_SPARK_HEIGHT - 3):.1f}"
        for place, each in enumerate(slow)
        if each is not None
    ]
    return bars, " ".join(points if len(points) > 1 else [])


def _versions(entries: Iterable[SeriesSum]) -> list[_Version]:
    """The versions, the one that was seen first first."""
    found: dict[str, list[SeriesSum]] = {}
    for each in entries:
        found.setdefault(each.series.version, []).append(each)
    rows = [
        _Version(name, rates(some), min(each.start for each in some), max(each.start for each in some))
        for name, some in found.items()
    ]
    return sorted(rows, key=lambda row: (row.first, row.name))


def _pools(measures: Iterable[MeasureSum]) -> list[Pool]:
    """The pools, those that were waited for longest first."""
    found: dict[str, dict[str, list[MeasureSum]]] = {}
    for each in measures:
        if each.label != BELOW_LABEL:  # what a request tells of the spans below it, which tell of it themselves
            found.setdefault(each.label, {}).setdefault(each.key, []).append(each)
    pools = []
    for name, told in found.items():
        waits = told.get(CAUSAL_POOL_WAIT, [])
        longest = max(waits, key=lambda each: each.largest, default=None)
        pools.append(
            Pool(
                name,
                max((each.largest for each in told.get(CAUSAL_POOL_SIZE, ())), default=0),
                sum(each.spans for each in waits),
                sum(each.total for each in waits),
                longest.largest if longest else 0,
                max((each.largest for each in told.get(CAUSAL_POOL_WAITING, ())), default=0),
                longest.trace.hex() if longest else "",
            )
        )
    return sorted(pools, key=lambda each: (-each.total, each.name))
