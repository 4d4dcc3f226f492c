"""Jaeger's metrics API, ``/api/metrics``: what the Monitor tab of Jaeger's pages draws, of what the store sums up.

Rates, shares of errors and quantiles are kept by the hour. A point tells of the hours that the time before it, as long
as ``ratePer``, touches; in more than seven days, of whole UTC days. So points that are less than an hour apart repeat
themselves. Durations are in milliseconds, rates are calls a second, errors are a share of the calls, 0 to 1.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from anyio import to_thread

from causal_otel.collector.attributes import KINDS
from causal_otel.collector.figures import Selected
from causal_otel.collector.jaeger import parameters
from causal_otel.collector.jaeger.answers import TOO_MUCH, Refused, endpoint
from causal_otel.collector.jaeger.legacy_requests import answer, boolean, enveloped, failure, integer, named
from causal_otel.collector.trends.rates import Rates, rates
from causal_otel.collector.trends.window import HOUR, Window, passed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from causal_otel.collector.figures import SeriesSum
    from causal_otel.collector.query import TraceReader
    from causal_otel.collector.reading import Reading

__all__ = ["MOST_POINTS", "MOST_SERIES", "routes"]

MOST_POINTS = 200
"""Points of one series at most: with more of them they are further apart than was asked for."""

MOST_SERIES = 300
"""Services, or operations, in one answer: those with the most calls."""

_MILLISECOND = 1_000_000
_LONGEST = 366 * 24 * HOUR
_DEFAULTS = {"lookback": 3_600_000, "step": 5_000, "ratePer": 600_000}
"""In milliseconds, as Jaeger has them."""

_MOST_SERVICES = 100
_NAMES = {
    "latencies": ("latencies", "{quantile}th quantile latency"),
    "calls": ("call_rate", "calls/sec"),
    "errors": ("error_rate", "error rate, computed as a fraction of errors/sec over calls/sec"),
}


def routes(reading: Reading, now: Callable[[], int]) -> list[BaseRoute]:
    """The routes of the API; ``now`` is Unix time in nanoseconds."""
    api = _Metrics(reading.reader, now)
    return [
        endpoint("/api/metrics/minstep", _minstep, failure),
        endpoint("/api/metrics/{metric:str}", api.metric, failure),
    ]


async def _minstep(request: Request) -> Response:
    """The least step that brings more: an hour, in milliseconds."""
    return answer(request, enveloped(HOUR // _MILLISECOND))


class _Question(NamedTuple):
    """What is asked: times in nanoseconds."""

    metric: str
    services: tuple[str, ...]
    kinds: frozenset[str]
    by_operation: bool
    quantile: float
    start: int
    end: int
    step: int
    rate_per: int

    @classmethod
    def read(cls, metric: str, params: QueryParams, now: int) -> _Question:
        """Read a request's parameters."""
        quantile = 0.0
        if metric == "latencies":
            with named("unable to parse param 'quantile': "):
                quantile = parameters.parse_number(params.get("quantile", ""))
            if not 0 < quantile <= 1:
                raise Refused(400, "unable to parse param 'quantile': it must be above 0 and at most 1")
        services = tuple(dict.fromkeys(filter(None, params.getlist("service"))))
        if not services:
            raise Refused(400, "unable to parse param 'service': please provide at least one service name")
        if len(services) > _MOST_SERVICES:
            raise Refused(400, f"unable to parse param 'service': at most {_MOST_SERVICES} can be asked for at once")
        by_operation = boolean(params, "groupByOperation")
        kinds = params.getlist("spanKind") or ["server"]
        for kind in kinds:
            if kind not in KINDS:
                raise Refused(400, f"unable to parse param 'spanKind': unsupported span kind: '{kind}'")
        until = integer(params, "endTs")
        lookback, step, rate_per = (_milliseconds(params, name) for name in _DEFAULTS)
        end = parameters.clamped(now if until is None else until * _MILLISECOND)
        lookback = min(lookback, _LONGEST, max(0, end))
        step *= max(1, -(-lookback // (step * (MOST_POINTS - 1))))
        return cls(
            metric, services, frozenset(kinds), by_operation, quantile, max(0, end) - lookback, max(0, end), step,
            min(rate_per, _LONGEST),
        )  # fmt: skip

    def wants(self, each: SeriesSum) -> bool:
        """Whether a series is meant."""
        return each.series.kind in self.kinds

    def key(self, each: SeriesSum) -> tuple[str, str]:
        """Service, and operation if that is asked for."""
        return each.series.service, each.series.operation if self.by_operation else ""

    def points(self) -> Iterator[int]:
        """When the points are."""
        yield from range(self.start, self.end + 1, self.step)

    def value(self, found: Rates, seconds: float) -> float:
        """What a point tells; not a number where nothing was called."""
        if self.metric == "calls":
            return found.per_second(seconds)
        if not found.calls:
            return math.nan
        return found.quantile(self.quantile) / _MILLISECOND if self.metric == "latencies" else found.failing


def _milliseconds(params: QueryParams, name: str) -> int:
    value = integer(params, name)
    if value is not None and value <= 0:
        raise Refused(400, f"unable to parse param '{name}': it must be above 0")
    return (value or _DEFAULTS[name]) * _MILLISECOND


class _Metrics:
    def __init__(self, reader: TraceReader, now: Callable[[], int]) -> None:
        self._reader = reader
        self._now = now

    async def metric(self, request: Request) -> Response:
        metric = request.path_params["metric"]
        if metric not in _NAMES:
            raise Refused(404, f"there is no metric {metric!r}")
        now = self._now()
        question = _Question.read(metric, request.query_params, now)
        return answer(request, await to_thread.run_sync(self._family, question, now))

    def _family(self, question: _Question, now: int) -> dict[str, Any]:
        """The answer: a metric family as Jaeger's protobuf has it."""
        window = Window.around(max(0, question.start - question.rate_per), question.end, now)
        found: dict[tuple[str, str], list[SeriesSum]] = {}
        reader = self._reader.bounded()
        for service in question.services:
            for each in reader.series(Selected(service), window.start, window.last, window.step):
                if question.wants(each):
                    found.setdefault(question.key(each), []).append(each)
        if reader.since > window.start:
            raise Refused(503, TOO_MUCH)
        most = sorted(found, key=lambda key: -sum(each.calls for each in found[key]))[:MOST_SERIES]
        name, told = _NAMES[question.metric]
        by = "service & operation" if question.by_operation else "service"
        return {
            "name": f"service_{'operation_' if question.by_operation else ''}{name}",
            "type": "GAUGE",
            "help": f"{told.format(quantile=f'{question.quantile:g}')}, grouped by {by}",
            "metrics": [
                {"labels": _labels(*key, question), "metricPoints": list(_points(found[key], question, window))}
                for key in sorted(most)
            ],
        }


def _labels(service: str, operation: str, question: _Question) -> list[dict[str, str]]:
    label = {"name": "service_name", "value": service}
    return [{"name": "operation", "value": operation}, label] if question.by_operation else [label]


def _points(sums: Iterable[SeriesSum], question: _Question, window: Window) -> Iterator[dict[str, Any]]:
    by_start: dict[int, list[SeriesSum]] = {}
    for each in sums:
        by_start.setdefault(each.start, []).append(each)
    known: dict[tuple[int, int], float] = {}
    for at in question.points():
        # What begins at this moment is not before it.
        last = max(0, at - 1) // window.width * window.width
        first = max(0, min(at - question.rate_per, last)) // window.width * window.width
        value = known.get((first, last))
        if value is None:
            bins = range(first, last + 1, window.width)
            some = rates(each for start in bins for each in by_start.get(start, ()))
            value = question.value(some, passed(first, last + window.width, window.now))
            known[first, last] = value
        yield {"gaugeValue": {"doubleValue": "NaN" if math.isnan(value) else value}, "timestamp": _timestamp(at)}


def _timestamp(nanoseconds: int) -> str:
    """RFC 3339 to the millisecond."""
    seconds, rest = divmod(nanoseconds, 10**9)
    moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = rest // _MILLISECOND
    return f"{moment}.{fraction:03}Z" if fraction else f"{moment}Z"
