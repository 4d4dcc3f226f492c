"""``search_traces``: the traces with a span like this, a line each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from causal_otel.collector.mcp.answers import Refused, milliseconds, name, utc
from causal_otel.collector.mcp.arguments import DURATIONS, OfOperation, Paged, duration, read
from causal_otel.collector.mcp.sources import SEARCH_SECONDS, furthest
from causal_otel.collector.mcp.tools.tool import Tool, capped
from causal_otel.collector.query import Query
from causal_otel.collector.query_line import Line
from causal_otel.collector.query_line import parse as read_line

if TYPE_CHECKING:
    from causal_otel.collector.mcp.sources import Traces
    from causal_otel.collector.query import Summary

__all__ = ["SEARCH"]

_MOST = 50
_SLACK = 50
"""Traces that may have come before the last one that was shown, and it is found again."""

_MOST_SERVICES = 8


class _Search(OfOperation, Paged):
    query: str = Field(
        "",
        description="conditions on the span, with spaces between them: key=value key=GET* key!=value key>=500 "
        "key>20ms key~regex key (has it) !key (has it not), also of service, name, kind, system, status, "
        "duration>20ms, error; a OR b, NOT a, ( ); values with spaces in double quotes; log:words of its log records",
    )
    errors: bool = Field(False, description="only spans that failed")
    min_duration: str = Field("", description=f"of the span, {DURATIONS}")
    max_duration: str = Field("", description="likewise")
    sort: Literal["newest", "oldest", "longest", "spans", "errors"] = Field("newest", description="which come first")
    limit: int = Field(20, ge=1, le=_MOST, description="traces a page")


def _answer(traces: Traces, wanted: _Search) -> str:
    page = wanted.page(SEARCH.name, wanted.limit, *wanted.time())
    shown = page.cursor.shown if page.cursor is not None else 0
    most = furthest(traces)
    query = _query(wanted, page.start, page.end, min(most, shown + 2 * wanted.limit + (_SLACK if shown else 0)))
    found = traces.search(query, seconds=SEARCH_SECONDS)
    first = page.begins(found.trace_ids, bytes.hex)
    ids = found.trace_ids[first : first + wanted.limit]
    summaries = {each.trace_id: each for each in traces.summaries(ids)}
    head: dict[str, Any] = {}
    if not found.trace_ids:
        head["hint"] = (
            f"no trace matches {wanted.when}: try a longer last (such as 7d) or fewer conditions; services and "
            "operations list what there is"
        )
    more = "at least" if len(found.trace_ids) == query.limit else ""
    if not found.complete:
        head["incomplete"] = f"the search was ended after {SEARCH_SECONDS:g} s: narrow the time to see all that match"
    elif more and query.limit == most:
        head["incomplete"] = f"a search goes no further than {most:,} traces: narrow the time to see the others"
    return page.answer(head, "traces", found.trace_ids, bytes.hex, partial(_row, summaries), more=more)


def _query(wanted: _Search, start: int, end: int, limit: int) -> Query:
    line = read("query", read_line, wanted.query) or Line()
    shortest, longest = duration("min_duration", wanted.min_duration), duration("max_duration", wanted.max_duration)
    if longest is not None and longest < (shortest or 0):
        raise Refused("max_duration is shorter than min_duration")
    operation, like = wanted.names()
    return Query(
        start=start,
        end=end,
        service=wanted.service or None,
        operation=operation,
        operation_like=like,
        where=line.where,
        logs=line.logs,
        shortest=shortest,
        longest=longest,
        errors=wanted.errors,
        limit=limit,
        sort=wanted.sort,
    )


def _row(summaries: dict[bytes, Summary], trace_id: bytes) -> dict[str, Any]:
    trace = summaries.get(trace_id)
    if trace is None:
        return {"trace_id": trace_id.hex(), "gone": True}
    services = [name(each.name) for each in trace.services[:_MOST_SERVICES]]
    if (more := len(trace.services) - _MOST_SERVICES) > 0:
        services.append(f"and {more} more")
    return {
        "trace_id": trace_id.hex(),
        "start": utc(trace.start),
        "ms": milliseconds(trace.duration),
        "spans": trace.spans,
        "errors": trace.errors,
        "services": services,
        "root": name(f"{trace.root_service}: {trace.root_operation}"),
    }


SEARCH = Tool(
    "search_traces",
    "Search traces",
    "Find traces with a span for which all of this holds. One row a trace: id, start (UTC), ms it took, spans, errors, "
    f"services, root operation. {capped(_MOST)} Next: why(trace_id) or trace_outline(trace_id).",
    _Search,
    _answer,
)
"""The tool."""
