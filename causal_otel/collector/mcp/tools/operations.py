"""``operations``: which are slow, which fail, and where their time goes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from causal_otel.causality.explanation import explain_operation
from causal_otel.collector.analysis.lookup import calls
from causal_otel.collector.conditions import is_like
from causal_otel.collector.figures import OperationStatistics
from causal_otel.collector.mcp.answers import milliseconds, name
from causal_otel.collector.mcp.arguments import OfOperation, Paged
from causal_otel.collector.mcp.statistics import statistics
from causal_otel.collector.mcp.tools.tool import Tool, capped
from causal_otel.collector.query import Query

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.collector.mcp.paging import Page
    from causal_otel.collector.mcp.sources import Traces

__all__ = ["OPERATIONS"]

_MOST, _MOST_EXPLAINED = 50, 5
_CALLS = 100

_SORTS: dict[str, Callable[[OperationStatistics], float]] = {
    "total": lambda each: each.total,
    "calls": lambda each: each.calls,
    "errors": lambda each: each.errors,
    "p50": lambda each: each.p50,
    "p95": lambda each: each.p95,
    "p99": lambda each: each.p99,
}


class _Operations(OfOperation, Paged):
    kind: Literal["", "server", "client", "internal", "producer", "consumer"] = Field(
        "", description="server: requests served, consumer: tasks and messages, client: queries and calls"
    )
    sort: Literal["total", "calls", "errors", "p50", "p95", "p99"] = Field("total", description="the largest first")
    where_time_goes: bool = Field(
        False,
        description=f"also what p50 and p95 of each consist of, over its newest calls: {_MOST_EXPLAINED} rows a page",
    )
    limit: int = Field(20, ge=1, le=_MOST, description="operations a page")


def _answer(traces: Traces, wanted: _Operations) -> str:
    limit = min(wanted.limit, _MOST_EXPLAINED) if wanted.where_time_goes else wanted.limit
    page = wanted.page(OPERATIONS.name, limit, *wanted.time())
    found = statistics(traces, page.start, page.end, wanted.service or None)
    exactly, like = wanted.names()
    rows = [
        each
        for each in found.operations
        if exactly in (None, each.operation)
        and (like is None or is_like(like, each.operation))
        and wanted.kind in ("", each.kind)
    ]
    rows.sort(key=lambda each: (-_SORTS[wanted.sort](each), each.service, each.operation, each.kind, each.system))
    head: dict[str, Any] = {"counted": found.of}
    if not rows and found.complete:
        head["hint"] = f"no operation matches {wanted.when}: try a longer last, such as 7d; services lists the services"
    show = partial(_explained, traces, page) if wanted.where_time_goes else _row
    return page.answer(head, "operations", rows, _key, show)


def _key(each: OperationStatistics) -> str:
    return f"{each.service}\n{each.operation}\n{each.kind}\n{each.system}"


def _row(each: OperationStatistics) -> dict[str, Any]:
    row = {
        "service": name(each.service),
        "operation": name(each.operation),
        "kind": each.kind,
        "system": name(each.system),
        "calls": each.calls,
        "errors": each.errors,
        "p50_ms": milliseconds(each.p50),
        "p95_ms": milliseconds(each.p95),
        "p99_ms": milliseconds(each.p99),
        "total_ms": milliseconds(each.total),
    }
    return {key: value for key, value in row.items() if value != ""}


def _explained(traces: Traces, page: Page, each: OperationStatistics) -> dict[str, Any]:
    query = Query(
        start=page.start,
        end=page.end,
        service=each.service,
        operation=each.operation,
        kind=each.kind,
        system=each.system,
    )
    found = calls(traces, query, most=_CALLS).get((each.service, each.operation))
    if not found:
        return _row(each)
    explained = explain_operation(each.service, each.operation, found)
    return {**_row(each), "where_time_goes": explained.sentence, "p95_trace_id": explained.slow.trace_id}


OPERATIONS = Tool(
    "operations",
    "List operations",
    "List operations (span names) of services: calls, errors, p50, p95 and p99 in ms, total_ms of all calls, what they "
    "talk to; with where_time_goes also what their time consists of. Use it to find out what is slow or fails before "
    f'looking at traces. {capped(_MOST)} Next: why(operation, which="all") or why(operation, which="slowest").',
    _Operations,
    _answer,
)
"""The tool."""
