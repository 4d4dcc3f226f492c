"""``why``: why a trace, or an operation, takes as long as it does."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from causal_otel.causality.explanation import explain, explain_operation
from causal_otel.collector.analysis.lookup import calls, newest, slowest
from causal_otel.collector.analysis.neighbours import traces_beside
from causal_otel.collector.mcp.answers import Refused, name, write
from causal_otel.collector.mcp.arguments import OfOperation, trace_id
from causal_otel.collector.mcp.sources import trace_of
from causal_otel.collector.mcp.tools.tool import Tool
from causal_otel.collector.query import Query

if TYPE_CHECKING:
    from causal_otel.causality.explanation import Explanation
    from causal_otel.collector.analysis import SpanView, TraceView
    from causal_otel.collector.mcp.sources import Traces

__all__ = ["WHY"]

_MOST_OTHERS = 5
_INCOMPLETE = "a search ended before all was seen: a shorter last, or service, narrows it"


class _Why(OfOperation):
    trace_id: str = Field("", description="of the trace to explain; else give operation, service or which")
    which: Literal["slowest", "last_failed", "all"] = Field(
        "slowest",
        description="without trace_id: the slowest span that matches, the last that failed, or what p50 and p95 of all "
        "calls of the operation consist of and what could be saved",
    )


def _answer(traces: Traces, wanted: _Why) -> str:
    problems: list[str] = []
    if wanted.trace_id:
        if wanted.operation or wanted.service:
            raise Refused("give either trace_id, or operation and service; not both")
        view = trace_of(traces, trace_id("trace_id", wanted.trace_id))
        return _answered({"trace_id": view.trace_id}, _explanation(traces, view, None, problems).text(), problems)
    if wanted.which == "all":
        return _of_operation(traces, wanted)
    if wanted.which == "slowest" and not (wanted.operation or wanted.service):
        raise Refused('give trace_id, operation or service, or which="last_failed"; operations lists what is slow')
    look = slowest if wanted.which == "slowest" else newest
    found = look(traces, _query(wanted), incomplete=partial(problems.append, _INCOMPLETE))
    if found is None:
        raise _nothing(wanted, problems)
    view, span = found
    # Of a failure, all of the trace is of interest: the span that failed may be a call of something else.
    explanation = _explanation(traces, view, span if wanted.which == "slowest" else None, problems)
    return _answered({"trace_id": view.trace_id, "span_id": span.span_id}, explanation.text(), problems)


def _answered(head: dict[str, str], text: str, problems: list[str], **more: Any) -> str:
    said = {"incomplete": "; ".join(dict.fromkeys(problems))} if problems else {}
    return write({**head, "explanation": text.splitlines(), **more, **said})


def _explanation(traces: Traces, view: TraceView, root: SpanView | None, problems: list[str]) -> Explanation:
    try:
        others = traces_beside(traces, view)
    except Refused as error:  # the trace itself is there
        others = []
        problems.append(f"other traces of that time could not be asked for: {error}")
    return explain(view, others, root=root)


def _of_operation(traces: Traces, wanted: _Why) -> str:
    """Of the operations that match, the one that took the most time, and the names of the others."""
    if not wanted.operation:
        raise Refused('which="all" is about an operation: give its name; operations lists them')
    problems: list[str] = []
    by_operation = calls(traces, _query(wanted), incomplete=partial(problems.append, _INCOMPLETE))
    if not by_operation:
        raise _nothing(wanted, problems)
    totals = {key: sum(call.nanoseconds for call in each) for key, each in by_operation.items()}
    (service, operation), *others = sorted(totals, key=lambda key: (-totals[key], key))
    explained = explain_operation(service, operation, by_operation[service, operation])
    slow = trace_of(traces, bytes.fromhex(explained.slow.trace_id))
    example = _explanation(traces, slow, slow.span(explained.slow.span_id), problems)
    head = {"p50_trace_id": explained.typical.trace_id, "p95_trace_id": explained.slow.trace_id}
    text = replace(explained, example=example).text()
    if not others:
        return _answered(head, text, problems)
    also = [name(f"{whose}: {what}") for whose, what in others[:_MOST_OTHERS]]
    return _answered(head, text, problems, other_operations_that_match=also)


def _query(wanted: _Why) -> Query:
    start, end = wanted.time()
    operation, like = wanted.names()
    return Query(
        start=start,
        end=end,
        service=wanted.service or None,
        operation=operation,
        operation_like=like,
        errors=wanted.which == "last_failed",
    )


def _nothing(wanted: _Why, problems: list[str]) -> Refused:
    if problems:
        return Refused(f"nothing was found, but {problems[0]}")
    of = f" of {name(wanted.operation)!r}" if wanted.operation else ""
    service = f" in the service {name(wanted.service)!r}" if wanted.service else ""
    what = "has failed" if wanted.which == "last_failed" else "is there"
    return Refused(
        f"no span{of}{service} {what} {wanted.when}: try a longer last, such as 7d; operations and services list what "
        "there is"
    )


WHY = Tool(
    "why",
    "Why it is slow or fails",
    "Explain where the time of a trace went: one sentence with shares, the critical path, and findings (N+1 queries, "
    "waits for pools, locks, queues and busy workers, a blocked event loop with file and line, retries, errors), "
    "longest first; [ids] are of spans. Start here. At most 2,000 bytes of text. Next: span_details for a span, "
    "diff_traces against a quick trace.",
    _Why,
    _answer,
)
"""The tool."""
