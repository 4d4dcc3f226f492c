"""``errors``: what fails, by the error's type and the application's own frame, each with an example."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from causal_otel.causality.explanation.failures import failure
from causal_otel.collector.analysis.lookup import matching
from causal_otel.collector.conditions import is_like
from causal_otel.collector.error_labels import ErrorLabel, error_of
from causal_otel.collector.figures import Selected
from causal_otel.collector.mcp.answers import milliseconds, name, utc
from causal_otel.collector.mcp.arguments import OfOperation, Paged
from causal_otel.collector.mcp.sources import SEARCH_SECONDS, Grouped, Summed, each_trace
from causal_otel.collector.mcp.statistics import all_spans, looked
from causal_otel.collector.mcp.tools.tool import Tool, capped
from causal_otel.collector.query import Query
from causal_otel.collector.trends.errors import ErrorGroup, Errors, errors, example
from causal_otel.collector.trends.periods import Period

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from causal_otel.collector.analysis import SpanView, TraceView
    from causal_otel.collector.figures import Series
    from causal_otel.collector.mcp.paging import Page
    from causal_otel.collector.mcp.sources import Traces

__all__ = ["ERRORS"]

_MOST = 50
_MOST_TRACES, _MOST_SPANS = 300, 100_000
_LONGEST_MESSAGE = 160
_EXAMPLE_SECONDS = 5.0
_OPERATIONS = 3


class _Errors(OfOperation, Paged):
    limit: int = Field(20, ge=1, le=_MOST, description="groups a page")


def _answer(traces: Traces, wanted: _Errors) -> str:
    page = wanted.page(ERRORS.name, wanted.limit, *wanted.time())
    if isinstance(traces, Grouped):
        wanted.names()  # what cannot be understood is refused here, in the same words
        found = traces.errors(wanted.service or None, wanted.operation, Period(page.start, page.end))
        return _counted(traces, found, traces.since, wanted, page)
    if isinstance(traces, Summed):
        bounded = traces.bounded()
        return _counted(bounded, _summed(bounded, wanted, page), bounded.since, wanted, page)
    return _looked_at(traces, wanted, page)


def _head(wanted: _Errors, of: str, rows: Sequence[object], *, complete: bool) -> dict[str, Any]:
    if rows or not complete:
        return {"counted": of}
    return {"counted": of, "hint": f"no span that matches has failed {wanted.when}: try a longer last, such as 7d"}


# -- where errors are summed up ---------------------------------------------------------------------------------------


def _summed(traces: Summed, wanted: _Errors, page: Page) -> Errors:
    operation, like = wanted.names()

    def wants(series: Series) -> bool:
        return like is None or is_like(like, series.operation)

    return errors(traces, Selected(wanted.service or None, operation), Period(page.start, page.end), wants)


def _counted(traces: Grouped | Summed, found: Errors, since: int, wanted: _Errors, page: Page) -> str:
    head = _head(wanted, all_spans(since, page.start), found.groups, complete=since <= page.start)
    show = partial(_group_row, traces, time.monotonic() + _EXAMPLE_SECONDS)
    return page.answer(head, "errors", found.groups, lambda group: "\n".join(group.label), show)


def _group_row(traces: Grouped | Summed, until: float, group: ErrorGroup) -> dict[str, Any]:
    row = {
        **_labelled(group.label),
        "count": group.count,
        "requests": group.requests,
        "operations": _operations((each.service, each.operation, each.count) for each in group.operations),
        "new": group.new,
        "first": utc(group.first),
        "last": utc(group.last),
        "trace_id": group.trace_id.hex(),
    }
    if group.new is None:
        del row["new"]
    if time.monotonic() < until and (span := example(traces, group).span) is not None:
        row |= _example(span)
    return row


# -- where they are not: some of the newest traces --------------------------------------------------------------------


@dataclass
class _Group:
    label: ErrorLabel
    count: int = 0
    requests: int = 0
    operations: Counter[tuple[str, str]] = field(default_factory=Counter)
    newest: tuple[TraceView, SpanView] | None = None

    def add(self, view: TraceView, span: SpanView) -> None:
        self.count += 1
        self.requests += span.kind in ("server", "consumer") or not span.parent_id
        self.operations[span.service, span.name] += 1
        if self.newest is None or (span.start, span.depth) > (self.newest[1].start, self.newest[1].depth):
            self.newest = view, span


def _looked_at(traces: Traces, wanted: _Errors, page: Page) -> str:
    operation, like = wanted.names()
    query = Query(
        start=page.start,
        end=page.end,
        service=wanted.service or None,
        operation=operation,
        operation_like=like,
        errors=True,
        limit=_MOST_TRACES,
    )
    found = traces.search(query, seconds=SEARCH_SECONDS)
    groups: dict[ErrorLabel, _Group] = {}
    looked_at = 0
    for view in each_trace(traces, found, _MOST_SPANS):
        looked_at += 1
        for span in matching(view, query):
            label = error_of(span)
            groups.setdefault(label, _Group(label)).add(view, span)
    rows = sorted(groups.values(), key=lambda each: (-each.count, each.label))
    complete = found.complete and looked_at == len(found.trace_ids) < _MOST_TRACES
    head = _head(wanted, looked(looked_at, complete=complete), rows, complete=complete)
    return page.answer(head, "errors", rows, lambda group: "\n".join(group.label), _row)


def _row(each: _Group) -> dict[str, Any]:
    assert each.newest is not None  # a group has at least one
    view, span = each.newest
    operations = sorted(each.operations.items(), key=lambda of: (-of[1], of[0]))
    return {
        **_labelled(each.label),
        "count": each.count,
        "requests": each.requests,
        "operations": _operations((*key, count) for key, count in operations),
        "last": utc(span.start),
        "trace_id": view.trace_id,
        **_example(span),
    }


# -- both -------------------------------------------------------------------------------------------------------------


def _labelled(label: ErrorLabel) -> dict[str, str]:
    return {"type": name(label.type), **({"frame": name(label.frame)} if label.frame else {})}


def _operations(counted: Iterable[tuple[str, str, int]]) -> tuple[str, ...]:
    """The operations in which most failed, and how many others."""
    found = list(counted)
    shown = [f"{name(service)}: {name(operation)} ({count})" for service, operation, count in found[:_OPERATIONS]]
    return (*shown, f"{len(found) - _OPERATIONS} more") if len(found) > _OPERATIONS else tuple(shown)


def _example(span: SpanView) -> dict[str, Any]:
    return {
        "span_id": span.span_id,
        "at": utc(span.start),
        "ms": milliseconds(span.duration),
        "origin": not span.errors_below,
        "message": failure(span, _LONGEST_MESSAGE),
    }


ERRORS = Tool(
    "errors",
    "List errors",
    "Group the spans that failed by error type and the application's own frame, the most frequent first: count of "
    "spans (an error counts in each span it passes through), requests among them, operations, first and last (when, to "
    "the hour), new (not there before). Of an example: trace, span, at, ms, message, origin (no span below it failed). "
    f"{capped(_MOST)} Next: why(trace_id) or span_details(trace_id, span_id).",
    _Errors,
    _answer,
)
"""The tool."""
