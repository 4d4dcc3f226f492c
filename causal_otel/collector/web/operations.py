"""The page of operations: which are slow, which fail, with links to their pages and to searches for their traces."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.routing import Route

from causal_otel.collector.attributes import KINDS
from causal_otel.collector.conditions import is_like
from causal_otel.collector.expressions import quoted
from causal_otel.collector.trends.periods import Period
from causal_otel.collector.trends.slower import FEWEST, NOTABLE, Compared, change_text, compared
from causal_otel.collector.web.addresses import operation_address, service_address
from causal_otel.collector.web.first_steps import otlp_endpoint
from causal_otel.collector.web.forms import LOOKBACKS, NO_SYSTEM, SearchForm
from causal_otel.collector.web.partial import partial_result
from causal_otel.collector.web.templating import colours, page

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.collector.figures import OperationStatistics
    from causal_otel.collector.query import TraceReader

__all__ = ["COLUMNS", "ROWS", "histogram", "routes"]

_DEFAULT_LOOKBACK = "24h"
ROWS = 100
"""Operations on one page."""

_BARS = 24


def _failing(each: OperationStatistics) -> float:
    return each.errors / each.calls if each.calls else 0.0


COLUMNS: dict[str, tuple[str, str, Callable[[Compared], float]]] = {
    "calls": ("Calls", "Spans of this operation", lambda each: each.calls),
    "errors": ("Errors", "Spans whose status is an error", lambda each: each.errors),
    "failing": ("Failing", "The share of calls with an error", _failing),
    "p50": ("p50", "Half of the calls took at most this", lambda each: each.p50),
    "p95": ("p95", "95 % of the calls took at most this", lambda each: each.p95),
    # What has no change stands between what got slower and what got faster.
    "change": ("Change", "How many times as long p95 is as in the time before", lambda each: each.change or 1.0),
    "p99": ("p99", "99 % of the calls took at most this", lambda each: each.p99),
    "longest": ("Longest", "The longest call", lambda each: each.longest),
    "total": ("Total", "The time of all calls together", lambda each: each.total),
}
"""What the table can be sorted by: the column's name, what it means, and its value."""


@dataclass(frozen=True, slots=True)
class _View:
    """The page's state, as its address has it."""

    service: str = ""
    operation: str = ""
    kind: str = ""
    system: str = ""
    lookback: str = _DEFAULT_LOOKBACK
    sort: str = "p95"
    order: str = "desc"
    page: int = 1

    @classmethod
    def read(cls, request: Request) -> _View:
        """The state; what the address says that does not exist is as by default."""
        given = request.query_params.get
        lookback, sort, kind, number = (given(name, "") for name in ("lookback", "sort", "kind", "page"))
        return cls(
            service=given("service", ""),
            operation=given("operation", "").strip(),
            kind=kind if kind in KINDS else "",
            system=given("system", ""),
            lookback=lookback if lookback in LOOKBACKS else _DEFAULT_LOOKBACK,
            sort=sort if sort in COLUMNS else "p95",
            order="asc" if given("order") == "asc" else "desc",
            page=int(number) if number.isascii() and number.isdecimal() and 0 < len(number) < 7 and int(number) else 1,
        )

    @property
    def narrowed(self) -> bool:
        """Whether some operations are left out."""
        return bool(self.service or self.operation or self.kind or self.system)

    def address(self, **changes: str | int) -> str:
        """The page's address with this state, after ``changes``: on the first page if not told otherwise."""
        given = {**asdict(self), "page": 1, **changes}
        parameters = {name: value for name, value in given.items() if value != getattr(_DEFAULT, name)}
        return f"/operations?{urlencode(parameters)}" if parameters else "/operations"

    def sorted_by(self, column: str) -> str:
        """The address with the rows in the order of ``column``: the other way round if they are already."""
        order = "asc" if column == self.sort and self.order == "desc" else "desc"
        return self.address(sort=column, order=order)

    def wants(self, each: OperationStatistics) -> bool:
        """Whether an operation is among those that are asked for; of which service was asked before."""
        return (
            (not self.operation or is_like(self.operation, each.operation))
            and (not self.kind or each.kind == self.kind)
            and (not self.system or each.system == ("" if self.system == NO_SYSTEM else self.system))
        )

    def of_operation(self, each: OperationStatistics) -> str:
        """The page of an operation."""
        return operation_address(
            each.service, each.operation, kind=each.kind, system=each.system, lookback=self.lookback
        )

    def of_service(self, each: OperationStatistics) -> str:
        """The page of its service."""
        return service_address(each.service, lookback=self.lookback)

    def search(self, each: OperationStatistics, *, alone: bool, **more: str) -> str:
        """The search for the traces of an operation; ``alone``: there is none of its name and kind in other systems."""
        operation = quoted(each.operation)
        system = each.system or ("" if alone else NO_SYSTEM)
        form = SearchForm(
            system=system, service=each.service, operation=operation, kind=each.kind, lookback=self.lookback
        )
        return form.address(**more)


_DEFAULT = _View()


def routes(reader: TraceReader, status: Callable[[], dict[str, Any]]) -> list[Route]:
    """``/operations``."""

    def operations(request: Request) -> Response:  # not async: it is called from a thread
        view, now = _View.read(request), time.time_ns()
        services = reader.services()
        bounded, period = reader.bounded(), Period(now - LOOKBACKS[view.lookback][1], now)
        everything = bounded.statistics(period.start, period.end, view.service or None)
        since = bounded.since  # read now: what is missing of the time before is no figure of this one
        systems = sorted({each.system for each in everything if each.system})
        wanted = [each for each in everything if view.wants(each)]
        found = compared(bounded, wanted, period, view.service or None)
        value = COLUMNS[view.sort][2]
        rows = Counter(map(_without_system, everything))

        def search(each: OperationStatistics, **more: str) -> str:
            return view.search(each, alone=rows[_without_system(each)] == 1, **more)

        # Equals stay in the order of their names, whichever way the column goes.
        found.sort(key=lambda each: (each.service, each.operation, each.kind, each.system))
        found.sort(key=value, reverse=view.order == "desc")
        pages = max(1, math.ceil(len(found) / ROWS))
        number = min(view.page, pages)
        shown = found[(number - 1) * ROWS : number * ROWS]
        context = {
            "view": view,
            "services": services,
            "systems": systems,
            "kinds": KINDS,
            "no_system": NO_SYSTEM,
            "operations": shown,
            "total": len(found),
            "first": (number - 1) * ROWS + 1,
            "before": view.address(page=number - 1) if number > 1 else "",
            "after": view.address(page=number + 1) if number < pages else "",
            "columns": COLUMNS,
            "lookbacks": LOOKBACKS,
            "colours": colours(each.service for each in shown),
            "histogram": histogram,
            "change_text": change_text,
            "fewest": FEWEST,
            "notable": NOTABLE,
            "before_cut": bounded.since > period.before.start,
            "search": search,
            "endpoint": "" if services else otlp_endpoint(request, status),
            **partial_result(since, period.start),
        }
        return page(request, "operations.html", context)

    return [Route("/operations", operations)]


def _without_system(each: OperationStatistics) -> tuple[str, str, str]:
    return each.service, each.operation, each.kind


def histogram(each: OperationStatistics) -> list[tuple[int, float]]:
    """The durations of an operation as bars from 1 µs to 100 s, logarithmic: each bar's number and height, 0 to 1."""
    heights = [0] * _BARS
    for bound, calls in each.buckets:
        place = (math.log10(max(1, bound)) - 3) / 8 * _BARS
        heights[min(_BARS - 1, max(0, int(place)))] += calls
    highest = max(heights)
    return [(place, round(calls / highest, 3)) for place, calls in enumerate(heights) if calls]
