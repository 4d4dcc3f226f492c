"""``trace_outline``: the spans of a trace, a short row each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from causal_otel.causality.critical_path import critical_path, time_on_path
from causal_otel.collector.mcp.answers import Refused, milliseconds, name, utc
from causal_otel.collector.mcp.arguments import DURATIONS, Paged, duration, trace_id
from causal_otel.collector.mcp.error_types import error_type
from causal_otel.collector.mcp.sources import trace_of
from causal_otel.collector.mcp.tools.tool import Tool, capped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.collector.analysis import SpanView, TraceView
    from causal_otel.collector.mcp.sources import Traces

__all__ = ["OUTLINE", "span_of"]

_MOST = 100
_MOST_SERVICES = 8
_LONGEST_NAME = 60
_LONGEST_PATH = 40


class _Outline(Paged):
    trace_id: str = Field(description="the trace's id")
    below: str = Field("", description="only this span, by its id, and what is below it")
    errors: bool = Field(False, description="only spans that failed")
    min_duration: str = Field("", description=f"only spans that took as long, {DURATIONS}")
    limit: int = Field(60, ge=1, le=_MOST, description="spans a page")


def _answer(traces: Traces, wanted: _Outline) -> str:
    page = wanted.page(OUTLINE.name, wanted.limit)
    least = duration("min_duration", wanted.min_duration) or 0
    view = trace_of(traces, trace_id("trace_id", wanted.trace_id))
    spans = _below(span_of(view, "below", wanted.below)) if wanted.below else view.spans
    rows = [span for span in spans if span.duration >= least and (span.error or not wanted.errors)]
    head = {
        "trace_id": view.trace_id,
        "start": utc(view.start),
        "ms": milliseconds(view.duration),
        "spans": len(view.spans),
        "errors": view.errors,
        "services": tuple(name(each.name) for each in view.services[:_MOST_SERVICES]),
    }
    shown = partial(_row, view, _paths(view), time_on_path(critical_path(view)))
    return page.answer(head, "outline", rows, lambda span: span.span_id, shown)


def span_of(view: TraceView, parameter: str, written: str) -> SpanView:
    """The span of a trace with an id.

    Raises:
        Refused: There is none.
    """
    span = view.span(written.strip().lower())
    if span is None:
        raise Refused(
            f"{parameter}: the trace {view.trace_id} has no span {written[:80]!r}: trace_outline lists its spans with "
            "their ids, of 16 hexadecimal digits"
        )
    return span


def _below(top: SpanView) -> Iterator[SpanView]:
    left = [top]
    while left:
        span = left.pop()
        yield span
        left.extend(reversed(span.children))


def _paths(view: TraceView) -> list[str]:
    """Each span's place in the tree: ``1.3.2`` is the second child of the third child of the first root."""
    paths = [""] * len(view.spans)
    for number, root in enumerate(view.roots, 1):
        paths[root.index] = str(number)
    for span in view.spans:
        for number, child in enumerate(span.children, 1):
            path = f"{paths[span.index]}.{number}"
            if len(path) > _LONGEST_PATH:
                path = "…" + path[-_LONGEST_PATH // 2 :].partition(".")[2]
            paths[child.index] = path
    return paths


def _row(view: TraceView, paths: list[str], on_path: dict[SpanView, int], span: SpanView) -> dict[str, Any]:
    row: dict[str, Any] = {
        "path": paths[span.index],
        "id": span.span_id,
        "service": name(span.service, _LONGEST_NAME),
        "name": name(span.name, _LONGEST_NAME),
        "kind": span.kind,
        "system": name(span.system, _LONGEST_NAME),
        "at_ms": milliseconds(span.start - view.start),
        "ms": milliseconds(span.duration),
        "critical_ms": milliseconds(on_path.get(span, 0)),
        "error": error_type(span) if span.error else "",
    }
    if span.kind in ("internal", "unspecified"):
        row["kind"] = ""
    always = ("name", "at_ms", "ms")
    return {key: value for key, value in row.items() if value or key in always}


OUTLINE = Tool(
    "trace_outline",
    "Outline a trace",
    "List the spans of a trace, depth first, a short row each (some 185 bytes): path (1.3.2 is the second child of the "
    "third child of the first root), id, service, name, kind, system it talks to, at_ms since the trace's start, ms it "
    f"took, critical_ms in which it held up the answer, error type. {capped(_MOST)} In a large trace ask for errors, "
    "min_duration or below. Next: span_details(trace_id, span_id).",
    _Outline,
    _answer,
)
"""The tool."""
