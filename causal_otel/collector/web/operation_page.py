"""The page of an operation: how it went over time, where its time goes, what changed, who calls it, and its traces."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from starlette.routing import Route

from causal_otel.collector.trends.callers import Called, callees, callers
from causal_otel.collector.trends.minutes import minutes
from causal_otel.collector.trends.time_parts import KEYS
from causal_otel.collector.web.addresses import operation_address, service_address
from causal_otel.collector.web.comparing import Comparing, comparing
from causal_otel.collector.web.examples import Example, examples, least_of_slowest
from causal_otel.collector.web.forms import LOOKBACKS
from causal_otel.collector.web.partial import partial_result
from causal_otel.collector.web.templating import colours, page
from causal_otel.collector.web.trend_state import NO_VERSION, OFFERED, TrendState, version_name, written
from causal_otel.collector.web.trend_views import Trend, rate, trend

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.collector.figures import Sums
    from causal_otel.collector.query import Query, Summary, TraceReader
    from causal_otel.collector.reading import Reading
    from causal_otel.collector.trends.window import Window

__all__ = ["MOST_CALLED", "by_minute", "common", "read_window", "routes"]

MOST_CALLED = 50
"""Callers, and operations that are called, that are listed."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """What was read for the page; ``since`` is of the reader."""

    window: Window
    trend: Trend
    versions: tuple[str, ...]
    comparing: Comparing | None
    callers: list[Called]
    callees: list[Called]
    examples: tuple[Example, ...]
    problem: str
    since: int

    @property
    def trace_ids(self) -> list[bytes]:
        return [trace_id for each in self.examples for trace_id in each.trace_ids]


def routes(reading: Reading) -> list[Route]:
    """``/operation``."""

    async def operation(request: Request) -> Response:
        state, now = TrendState.read(request.query_params), time.time_ns()
        if not (state.service and "operation" in request.query_params):
            context = {
                "heading": "Which operation?",
                "message": "The address of an operation's page has its service and its name. The page of operations "
                "has links to all of them.",
            }
            return page(request, "error.html", context, status=400)
        shown = await to_thread.run_sync(_read, reading.reader.bounded(), state, now)
        return await reading.summaries(shown.trace_ids, partial(_draw, request, reading.reader, state, shown))

    return [Route("/operation", operation)]


def _read(reader: TraceReader, state: TrendState, now: int) -> _Shown:
    window, problem = read_window(state, now)
    figures, window = by_minute(reader, replace(state.query(window), where=None), window)
    of_all, selected = state.selected(any_version=True), state.selected()
    sums = figures.series(of_all, window.start, window.last, window.step)
    measures = figures.measures(of_all, window.start, window.last, window.step, KEYS)
    versions = tuple(sorted({each.series.version for each in sums}))
    version = version_name(state.version)
    if version is not None:
        sums = [each for each in sums if each.series.version == version]
        measures = [each for each in measures if each.series.version == version]
    compared, mistake = comparing(figures, of_all, state, window)
    drawn = trend(window, sums, measures, compared.moment if compared else None)
    return _Shown(
        window,
        drawn,
        versions,
        compared,
        callers(reader, selected, window.start, window.last),
        callees(reader, selected, window.start, window.last),
        tuple(examples(reader, state.query(window), drawn.whole)),
        " ".join(filter(None, (problem, mistake))),
        reader.since,
    )


def read_window(state: TrendState, now: int) -> tuple[Window, str]:
    """The time that is shown, and what cannot be understood of the one that was asked for."""
    try:
        return state.window(now), ""
    except ValueError as error:
        return TrendState().window(now), f"The time cannot be used: {error}."


def by_minute(reader: TraceReader, query: Query, window: Window) -> tuple[Sums, Window]:
    """What has the figures of a time, and how much of it there was time to read, where that is by the minute."""
    if window.step != "minute":
        return reader, window
    found = minutes(reader, query)
    return found, window.since(found.complete_since)


def common(reader: TraceReader, state: TrendState, window: Window, versions: tuple[str, ...]) -> dict[str, Any]:
    """What the templates of operations and services both need."""
    return {
        "state": state,
        "window": window,
        "versions": versions,
        "no_version": NO_VERSION,
        "lookbacks": {name: LOOKBACKS[name][0] for name in dict.fromkeys((*OFFERED, state.lookback))},
        "rate": rate,
        "written": written,
        "operation_address": operation_address,
        "service_address": service_address,
        "time": {"start": state.start, "end": state.end} if state.start or state.end else {"lookback": state.lookback},
    }


def _draw(request: Request, reader: TraceReader, state: TrendState, shown: _Shown, traces: list[Summary]) -> Response:
    by_id = {each.trace_id: each for each in traces}
    others = {each.other.service for each in (*shown.callers, *shown.callees)}
    if shown.comparing:
        change = shown.comparing.change
        others |= {each.other.service for each in (*change.callers, *change.callees)}
    context = common(reader, state, shown.window, shown.versions) | {
        "path": "/operation",
        "trend": shown.trend,
        "comparing": shown.comparing,
        "callers": shown.callers[:MOST_CALLED],
        "callees": shown.callees[:MOST_CALLED],
        "hidden": [max(0, len(found) - MOST_CALLED) for found in (shown.callers, shown.callees)],
        "examples": [
            (
                each,
                [by_id[trace_id] for trace_id in each.trace_ids if trace_id in by_id],
                state.search(shown.window, **each.search),
            )
            for each in shown.examples
        ],
        "groups": state.groups(shown.window, shown.comparing.moment) if shown.comparing else "",
        "search": state.search(shown.window),
        "different": state.different(
            shown.window, least_of_slowest(shown.trend.whole, -(-shown.trend.whole.calls // 20))
        ),
        "problem": shown.problem,
        **partial_result(shown.since, shown.window.start),
        "colours": colours({state.service, *others, *(each.root_service for each in traces)}),
    }
    return page(request, "operation.html", context, status=400 if shown.problem else 200)
