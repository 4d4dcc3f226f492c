"""``errors``: what fails, by service, operation and type, each with an example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from causal_otel.causality.explanation.failures import failure
from causal_otel.collector.analysis.lookup import matching
from causal_otel.collector.mcp.answers import milliseconds, name, utc
from causal_otel.collector.mcp.arguments import OfOperation, Paged
from causal_otel.collector.mcp.error_types import error_type
from causal_otel.collector.mcp.sources import SEARCH_SECONDS, each_trace
from causal_otel.collector.mcp.statistics import looked
from causal_otel.collector.mcp.tools.tool import Tool, capped
from causal_otel.collector.query import Query

if TYPE_CHECKING:
    from causal_otel.collector.analysis import SpanView, TraceView
    from causal_otel.collector.mcp.sources import Traces

__all__ = ["ERRORS"]

_MOST = 50
_MOST_TRACES, _MOST_SPANS = 300, 100_000
_LONGEST_MESSAGE = 160


class _Errors(OfOperation, Paged):
    limit: int = Field(20, ge=1, le=_MOST, description="groups a page")


@dataclass
class _Group:
    service: str
    operation: str
    kind: str
    count: int = 0
    origins: int = 0
    last: int = -1
    example: tuple[TraceView, SpanView] | None = None

    def add(self, view: TraceView, span: SpanView) -> None:
        self.count += 1
        self.origins += not span.errors_below
        if span.start > self.last:
            self.last = span.start
            self.example = view, span


def _answer(traces: Traces, wanted: _Errors) -> str:
    page = wanted.page(ERRORS.name, wanted.limit, *wanted.time())
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
    groups: dict[tuple[str, str, str], _Group] = {}
    looked_at = 0
    for view in each_trace(traces, found, _MOST_SPANS):
        looked_at += 1
        for span in matching(view, query):
            key = span.service, span.name, error_type(span)
            groups.setdefault(key, _Group(*key)).add(view, span)
    rows = sorted(groups.values(), key=lambda each: (-each.count, each.service, each.operation, each.kind))
    complete = found.complete and looked_at == len(found.trace_ids) < _MOST_TRACES
    head: dict[str, Any] = {"counted": looked(looked_at, complete=complete)}
    if not rows:
        head["hint"] = f"no span that matches has failed {wanted.when}: try a longer last, such as 7d"
    return page.answer(head, "errors", rows, _key, _row)


def _key(each: _Group) -> str:
    return f"{each.service}\n{each.operation}\n{each.kind}"


def _row(each: _Group) -> dict[str, Any]:
    assert each.example is not None  # a group has at least one
    view, span = each.example
    return {
        "service": name(each.service),
        "operation": name(each.operation),
        "type": each.kind,
        "count": each.count,
        "origin": each.origins,
        "last": utc(each.last),
        "trace_id": view.trace_id,
        "span_id": span.span_id,
        "ms": milliseconds(span.duration),
        "message": failure(span, _LONGEST_MESSAGE),
    }


ERRORS = Tool(
    "errors",
    "List errors",
    "Group the spans that failed by service, operation and error type, the most frequent first: count, origin (how "
    "many began there, with no failed span below them), last (when), and of the last one trace, span, ms, message. Of "
    f"the newest {_MOST_TRACES} traces with errors. {capped(_MOST)} Next: why(trace_id) or "
    "span_details(trace_id, span_id).",
    _Errors,
    _answer,
)
"""The tool."""
