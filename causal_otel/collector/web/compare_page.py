"""The page that compares two traces, or offers those that can be; see :mod:`.compare_groups` for groups of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyio import to_thread
from starlette.routing import Route

from causal_otel.causality.explanation.comparison import Change, Comparison, compare, folded
from causal_otel.collector.analysis import build
from causal_otel.collector.matching import summary
from causal_otel.collector.units import format_duration
from causal_otel.collector.web.compare_groups import asks_for_groups, groups_page
from causal_otel.collector.web.page_state import parse_trace_id
from causal_otel.collector.web.templating import colours, page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.collector.query import Summary
    from causal_otel.collector.reading import Reading

__all__ = ["routes"]

_CANDIDATES = 20
_ROWS_LIMIT = 2000
_CHANGES: dict[Change, str] = {
    "slower": "slower",
    "faster": "faster",
    "only-a": "only in A",
    "only-b": "only in B",
    "same": "alike",
}


def routes(reading: Reading) -> list[Route]:
    """``/compare``."""
    return [Route("/compare", _ComparePage(reading).compare)]


class _ComparePage:
    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._reader = reading.reader

    async def compare(self, request: Request) -> Response:
        if asks_for_groups(request.query_params):
            return await self._reading.run(lambda: groups_page(self._reader, request), large=True)
        chosen = request.query_params.getlist("trace")  # in the search's results
        given = [*chosen, ""][:2] if chosen else [request.query_params.get(name, "") for name in ("a", "b")]
        written = [text.strip() for text in given]
        trace_ids = [found for text in written if (found := parse_trace_id(text))]
        recent = await to_thread.run_sync(self._reader.recent, _CANDIDATES)
        candidates = await self._reading.summaries(recent.trace_ids, list)
        return await self._reading.traces(trace_ids, lambda: self._compare_page(request, written, candidates))

    def _compare_page(self, request: Request, written: list[str], candidates: list[Summary]) -> Response:
        messages, problems = [], []
        for name, text in zip("AB", written, strict=True):
            trace_id = parse_trace_id(text)
            message = self._reader.trace(trace_id) if trace_id else None
            messages.append(message)
            if text and trace_id is None:
                problems.append(f"{name} is no trace id: it has 32 hexadecimal digits.")
            elif text and message is None:
                problems.append(f"{name} is not here: there are no spans of {text}. It may be too old, or not sampled.")
        context: dict[str, Any] = {
            "a": written[0],
            "b": written[1],
            "problems": problems,
            "chosen": len(request.query_params.getlist("trace")),
            "comparison": None,
            "candidates": candidates,
        }
        services = [candidate.root_service for candidate in candidates]
        first, second = messages
        if first is not None and second is not None:
            views = build(first), build(second)
            comparison = compare(*views)
            show, unfold = request.query_params.get("show", ""), bool(request.query_params.get("unfold"))
            wanted = [row for row in comparison.rows if show not in _CHANGES or row.change == show]
            lines = wanted if unfold else folded(wanted)
            rows, left_out = lines[:_ROWS_LIMIT], lines[_ROWS_LIMIT:]
            services += [row.service for row in (*rows, *(cause.row for cause in comparison.causes))]
            shown = sum(row.explains for row in rows)
            context |= {
                "a": views[0].trace_id,
                "b": views[1].trace_id,
                "sides": (summary(first), summary(second)),
                "comparison": comparison,
                "verdict": _verdict(views[0].duration, views[1].duration, comparison),
                "changes": _CHANGES,
                "show": show if show in _CHANGES else "",
                "unfold": unfold,
                "folds": len(lines) < len(wanted),
                "rows": rows,
                "left_out": sum(max(row.a.spans, row.b.spans) for row in left_out),
                "left_out_explains": sum(row.explains for row in left_out),
                "others": len(comparison.rows) - len(wanted),
                "others_explain": comparison.explained - shown - sum(row.explains for row in left_out),
            }
        context["colours"] = colours(services)
        return page(request, "compare.html", context, status=404 if problems else 200)


def _verdict(a: int, b: int, comparison: Comparison) -> str:
    delta = b - a
    share = f" ({100 * abs(delta) / a:.3g} %)" if a else ""
    if not delta:
        first = "B took exactly as long as A"
    else:
        first = f"B took {format_duration(abs(delta))}{share} {'longer' if delta > 0 else 'less'} than A"
    differing = [
        f"{comparison.counts[change]} {label}"
        for change, label in _CHANGES.items()
        if change != "same" and comparison.counts[change]
    ]
    calls = f"of {len(comparison.rows)} calls, {', '.join(differing)}" if differing else "no call differs notably"
    return f"{first}; {calls}."
