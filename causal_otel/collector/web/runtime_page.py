"""The page of the runtime: what held up event loops, pools, queues and tasks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from causal_otel.collector.expressions import quoted
from causal_otel.collector.trends.runtime import runtime
from causal_otel.collector.web.first_steps import otlp_endpoint
from causal_otel.collector.web.forms import LOOKBACKS, SearchForm
from causal_otel.collector.web.partial import partial_result
from causal_otel.collector.web.templating import colours, page
from causal_otel.collector.web.trend_view import TrendView, bars
from causal_otel.names import (
    CAUSAL_BLOCK_FRAME,
    CAUSAL_CANCELLED,
    CAUSAL_LOOP_BLOCKED,
    CAUSAL_LOOP_READY_WAIT,
    CAUSAL_POOL_WAIT,
    CAUSAL_QUEUE_WAIT,
    CAUSAL_TASK_UNAWAITED,
    MESSAGING_DESTINATION_NAME,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.collector.query import TraceReader
    from causal_otel.collector.trends.runtime import Lag, Pool, Queue, Runtime, Stall, Task

__all__ = ["routes"]

_ROWS = 50
"""Rows of each table."""


def routes(reader: TraceReader, status: Callable[[], dict[str, Any]]) -> list[Route]:
    """``/runtime``."""
    # Starlette calls what is not async from threads, where it may wait for the disk.
    return [Route("/runtime", partial(_page, reader, status))]


def _page(reader: TraceReader, status: Callable[[], dict[str, Any]], request: Request) -> Response:
    view = TrendView.read(request, (), "")
    services = reader.services()
    bounded = reader.bounded()
    found = runtime(bounded, view.service or None, view.period)
    context = {
        "view": view,
        "services": services,
        "runtime": found,
        "most": _ROWS,
        "anything": any((found.stalls, found.lags, found.pools, found.queues, found.tasks)),
        "lookbacks": LOOKBACKS,
        "colours": colours([*services, *_services(found)]),
        "bars": lambda amounts, **how: bars(amounts, view.period, **how),
        "steps": len(view.period.steps),
        "searches": _Searches(view),
        "endpoint": "" if services else otlp_endpoint(request, status),
        **partial_result(bounded.since, view.period.start),
    }
    return page(request, "runtime.html", context)


def _services(found: Runtime) -> list[str]:
    rows: list[Stall | Lag | Pool | Queue | Task]
    rows = [*found.stalls, *found.lags, *found.pools, *found.queues, *found.tasks]
    return [each.service for each in rows]


class _Searches:
    """The searches for the traces behind a row: at least as bad as the mean."""

    def __init__(self, view: TrendView) -> None:
        self._lookback = view.lookback

    def stall(self, row: Stall) -> str:
        return self._address(row.service, f"{CAUSAL_BLOCK_FRAME}={quoted(row.frame)}")

    def lag(self, row: Lag) -> str:
        key, told = (
            (CAUSAL_LOOP_READY_WAIT, row.ready)
            if row.ready.total >= row.blocked.total
            else (CAUSAL_LOOP_BLOCKED, row.blocked)
        )
        return self._address(row.service, f"{key}>={int(told.mean)}ns")

    def pool(self, row: Pool) -> str:
        return self._address(row.service, f"{CAUSAL_POOL_WAIT}>={int(row.waits.mean)}ns", _system(row.pool))

    def queue(self, row: Queue) -> str:
        tags = f"{CAUSAL_QUEUE_WAIT}>={int(row.waits.mean)}ns"
        if row.queue:
            tags += f" {MESSAGING_DESTINATION_NAME}={quoted(row.queue)}"
        return self._address(row.service, tags)

    def failed(self, row: Queue) -> str:
        tags = f"{MESSAGING_DESTINATION_NAME}={quoted(row.queue)}" if row.queue else CAUSAL_QUEUE_WAIT
        return self._address(row.service, tags, errors="1")

    def cancelled(self, row: Task) -> str:
        return self._of_task(row, CAUSAL_CANCELLED)

    def unawaited(self, row: Task) -> str:
        return self._of_task(row, CAUSAL_TASK_UNAWAITED)

    def _of_task(self, row: Task, key: str) -> str:
        return self._address(row.service, f"{key}=true", operation=quoted(row.operation), kind=row.kind)

    def _address(self, service: str, tags: str, system: str = "", **more: str) -> str:
        return SearchForm(service=service, tags=tags, system=system, lookback=self._lookback, **more).address()


def _system(pool: str) -> str:
    """What the pool's connections lead to, where its name tells that."""
    system, separator, _ = pool.partition(" ")
    return system if separator else ""
