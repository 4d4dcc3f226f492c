"""The pages for one trace and for how services hang together: trace, compare, map, and import."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from causal_otel.collector.analysis import build
from causal_otel.collector.matching import summary
from causal_otel.collector.reading import LARGE_DOCUMENT
from causal_otel.collector.receive import otlp_json
from causal_otel.collector.units import duration, parse_duration
from causal_otel.collector.web.compare import Change, Comparison, compare
from causal_otel.collector.web.imports import FILE_LIMIT, Refused, parse, trace_ids, uploaded
from causal_otel.collector.web.page_state import PageState
from causal_otel.collector.web.service_map import rates, service_map
from causal_otel.collector.web.span_details import LONG, LONGEST, SpanDetails, span_details
from causal_otel.collector.web.templating import HEADERS, colours, page
from causal_otel.collector.web.views import Shown, Views
from causal_otel.collector.web.waterfall import CHUNK, KINDS, find_spans, parents, waterfall

if TYPE_CHECKING:
    from starlette.requests import Request

    from causal_otel.collector.analysis import SpanView, TraceView
    from causal_otel.collector.query import Summary
    from causal_otel.collector.reading import Reading

__all__ = ["Put", "routes"]

Put = Callable[[bytes], Future[Any] | Awaitable[Any]]
"""Keeps a serialized ``ExportTraceServiceRequest``; when what it returns is done, that can be read."""

_ID = re.compile(r"(?:.*/trace/)?([0-9a-f]{32}|[0-9a-f]{16})(?:[?#.].*)?", re.IGNORECASE)
_LOOKBACKS = ("1h", "6h", "24h", "7d", "30d")
_LONGEST_LOOKBACK = 366 * 86400 * 10**9
_CANDIDATES = 20
_ROWS_LIMIT = 2000
_LONG_COLLAPSED = 20
_CHANGES: dict[Change, str] = {
    "slower": "slower",
    "faster": "faster",
    "only-a": "only in A",
    "only-b": "only in B",
    "same": "alike",
}
_KEEPING_SECONDS = 30.0


def routes(reading: Reading, put: Put | None = None) -> list[BaseRoute]:
    """The routes of these pages.

    Args:
        reading: what traces are read by.
        put: keeps what is imported; None: nothing can be.
    """
    pages = _Pages(reading, put)
    # All read and draw thousands of rows in threads, those of whole traces in the threads of ``reading``.
    return [
        Route("/trace/{trace_id}.json", pages.trace_json),
        Route("/trace/{trace_id}", pages.trace),
        Route("/trace/{trace_id}/find", pages.find),
        Route("/trace/{trace_id}/span/{span_id}", pages.span),
        Route("/compare", pages.compare),
        Route("/map", pages.map),
        Route("/import", pages.import_form, methods=["GET"]),
        Route("/import", pages.import_file, methods=["POST"]),
    ]


def _parse_id(text: str) -> bytes | None:
    """A trace's id, or the address of its page, as 16 bytes; None if it is neither. Shorter ids have leading zeros."""
    match = _ID.fullmatch(text.strip())
    parsed = bytes.fromhex(match[1].zfill(32)) if match else b""
    return parsed if any(parsed) else None


class _Pages:
    def __init__(self, reading: Reading, put: Put | None) -> None:
        self._reading = reading
        self._reader = reading.reader
        self._views = Views(reading)
        self._put = put

    async def trace(self, request: Request) -> Response:
        trace_id, toggled = _parse_id(request.path_params["trace_id"]), request.query_params.get("toggle")
        if toggled:
            return await self._views.recent(trace_id, partial(_toggle, request, toggled))
        return await self._views.fresh(trace_id, partial(self._trace_page, request))

    def _trace_page(self, request: Request, shown: Shown | None) -> Response:
        if shown is None:
            return _no_trace(request)
        message, view = shown
        path = f"/trace/{view.trace_id}"
        state = PageState.parse(request.query_params)
        over = parents(view)
        state = replace(state, open=tuple(each for each in state.open if view.span(each)))
        collapsed = state.collapsed_among(over)
        if state.open:
            collapsed.difference_update(_above(view.span(state.open[-1])))
        hits = find_spans(view, state.find) if state.find else []
        errors = [span for span in view.spans if span.error]
        chosen = self._colours(each.name for each in view.services)
        opened = {each: self._details(view, each, chosen) for each in state.open}
        at = _index(view, state)
        return page(
            request,
            "trace.html",
            {
                "trace": view,
                "trace_id": view.trace_id,
                "path": path,
                "summary": summary(message),
                "depth": 1 + max(span.depth for span in view.spans),
                "warnings": _warnings(view),
                "state": state,
                "address": _row_addresses(state),
                "colours": chosen,
                "waterfall": waterfall(
                    view,
                    chosen,
                    collapsed=collapsed,
                    opened=opened,
                    hits={span.index for span in hits},
                    until=state.critical or "answer",
                ),
                "goes_on": view.root is not None and view.end > view.root.end,
                "kinds": KINDS,
                "opened": opened,
                "long": LONG,
                "longest": LONGEST,
                "hits": hits,
                "chunk_size": CHUNK,
                "found": _found(hits, at),
                "hit_before": _step(hits, at, -1, state, path),
                "hit_after": _step(hits, at, 1, state, path),
                "errors": errors,
                "error_before": _step(errors, at, -1, state, path),
                "error_after": _step(errors, at, 1, state, path),
            },
        )

    async def trace_json(self, request: Request) -> Response:
        trace_id = _parse_id(request.path_params["trace_id"])
        if trace_id is None:
            return _no_trace(request)
        return await self._reading.traces([trace_id], lambda: self._trace_json(request, trace_id))

    def _trace_json(self, request: Request, trace_id: bytes) -> Response:
        message = self._reader.trace(trace_id)
        if message is None:
            return _no_trace(request)
        name = f"trace-{trace_id.hex()}.json"
        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
        return Response(otlp_json.dumps(message), media_type="application/json", headers=headers)

    async def span(self, request: Request) -> Response:
        """A span's details alone, for the page to put in its place."""
        return await self._views.recent(_parse_id(request.path_params["trace_id"]), partial(self._span, request))

    def _span(self, request: Request, shown: Shown | None) -> Response:
        view = shown.view if shown is not None else None
        span_id = request.path_params["span_id"].lower()
        if view is None or view.span(span_id) is None:
            return Response("There is no such span here.", 404, HEADERS, "text/plain")
        chosen = self._colours(each.name for each in view.services)
        context = {
            "details": self._details(view, span_id, chosen),
            "path": f"/trace/{view.trace_id}",
            "trace_id": view.trace_id,
            "long": LONG,
            "longest": LONGEST,
        }
        return page(request, "span_details.html", context)

    async def find(self, request: Request) -> Response:
        """The ids of the spans that hold a text."""
        trace_id = _parse_id(request.path_params["trace_id"])
        return await self._views.recent(trace_id, partial(self._find, request), all_spans=True)

    @staticmethod
    def _find(request: Request, shown: Shown | None) -> Response:
        if shown is None:
            return Response("There is no such trace here.", 404, HEADERS, "text/plain")
        text = PageState.parse({"find": request.query_params.get("text", "")}).find
        found = find_spans(shown.view, text) if text else []
        return JSONResponse({"spans": [span.span_id for span in found]}, headers=HEADERS)

    async def compare(self, request: Request) -> Response:
        chosen = request.query_params.getlist("trace")  # in the search's results
        given = [*chosen, ""][:2] if chosen else [request.query_params.get(name, "") for name in ("a", "b")]
        written = [text.strip() for text in given]
        trace_ids = [found for text in written if (found := _parse_id(text))]
        recent = await to_thread.run_sync(self._reader.recent, _CANDIDATES)
        candidates = await self._reading.summaries(recent.trace_ids, list)
        return await self._reading.traces(trace_ids, lambda: self._compare_page(request, written, candidates))

    def _compare_page(self, request: Request, written: list[str], candidates: list[Summary]) -> Response:
        messages, problems = [], []
        for name, text in zip("AB", written, strict=True):
            trace_id = _parse_id(text)
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
            sides = summary(first), summary(second)
            comparison = compare(build(first), build(second))
            show = request.query_params.get("show", "")
            rows = [row for row in comparison.rows if show not in _CHANGES or row.change == show]
            services += [row.service for row in comparison.rows]
            context |= {
                "a": sides[0].trace_id.hex(),
                "b": sides[1].trace_id.hex(),
                "sides": sides,
                "comparison": comparison,
                "verdict": _verdict(sides[0].duration, sides[1].duration, comparison),
                "changes": _CHANGES,
                "show": show if show in _CHANGES else "",
                "rows": rows[:_ROWS_LIMIT],
                "left_out": max(0, len(rows) - _ROWS_LIMIT),
                "explained": sum(row.explains for row in rows),
            }
        context["colours"] = self._colours(services)
        return page(request, "compare.html", context, status=404 if problems else 200)

    def map(self, request: Request) -> Response:
        asked = request.query_params.get("lookback", "24h").strip()
        problem = ""
        try:
            lookback = parse_duration(asked)
            if not 0 < lookback <= _LONGEST_LOOKBACK:
                raise ValueError(f"{asked[:40]!r} is not between nothing and a year")
        except ValueError as error:
            asked, lookback, problem = "24h", parse_duration("24h"), f"The time cannot be used: {error}."
        now = time.time_ns()
        calls = self._reader.dependencies(now - lookback, now)
        drawn = service_map(calls, self._reader.statistics(now - lookback, now))
        services = {name for call in calls for name in (call.parent, call.child)}
        context = {
            "map": drawn,
            "calls": sorted(calls, key=lambda call: (-call.calls, call.parent, call.child)),
            "lookback": asked,
            "lookbacks": _LOOKBACKS,
            "problem": problem,
            "colours": self._colours([*services, *(node.name for node in drawn.nodes)]),
            "rate": rates(max((call.calls for call in calls), default=0), lookback / 10**9),
            "share": _share,
        }
        return page(request, "map.html", context, status=400 if problem else 200)

    def import_form(self, request: Request) -> Response:
        return self._import_page(request)

    async def import_file(self, request: Request) -> Response:
        put = self._put
        if put is None:
            return self._import_page(request, status=403)
        try:
            data = await uploaded(request)
            message = await self._reading.run(partial(parse, data), large=len(data) >= LARGE_DOCUMENT)
        except Refused as refused:
            return self._import_page(request, problem=str(refused), status=refused.status)
        try:
            keeping = put(message.SerializeToString())
            await asyncio.wait_for(
                asyncio.wrap_future(keeping) if isinstance(keeping, Future) else keeping, _KEEPING_SECONDS
            )
        except Exception as error:  # whatever the store says: full, closed, no space left
            problem = f"The traces could not be kept: {str(error) or type(error).__name__}. Try again in a moment."
            return self._import_page(request, problem=problem, status=503)
        imported = trace_ids(message)
        if len(imported) > 1:
            return self._import_page(request, imported=imported)
        return RedirectResponse(f"/trace/{imported[0]}", 303, headers=HEADERS)

    def _import_page(
        self, request: Request, problem: str = "", imported: list[str] | None = None, status: int = 200
    ) -> Response:
        context = {
            "problem": problem,
            "imported": imported,
            "writable": self._put is not None,
            "megabytes": FILE_LIMIT // 2**20,
        }
        return page(request, "import.html", context, status=status)

    def _colours(self, services: Any) -> dict[str, int]:
        return colours([*self._reader.services(), *services])

    @staticmethod
    def _details(view: TraceView, span_id: str, chosen: dict[str, int]) -> SpanDetails:
        span = view.span(span_id)
        assert span is not None
        return span_details(view, span, chosen[span.service])


def _no_trace(request: Request) -> Response:
    trace_id = request.path_params["trace_id"]
    return page(request, "no_trace.html", {"trace_id": trace_id, "valid": _parse_id(trace_id)}, status=404)


def _above(span: SpanView | None) -> set[str]:
    found: set[str] = set()
    while span is not None and span.parent is not None:
        span = span.parent
        found.add(span.span_id)
    return found


def _toggle(request: Request, what: str, shown: Shown | None) -> Response:
    if shown is None:
        return _no_trace(request)
    view = shown.view
    state = _toggled(view, PageState.parse(request.query_params), what, parents(view))
    return RedirectResponse(state.address(f"/trace/{view.trace_id}"), 303, headers=HEADERS)


def _toggled(view: TraceView, state: PageState, what: str, over: list[str]) -> PageState:
    """The state after ``what`` is collapsed or expanded; details that are hidden by it are closed."""
    state = state.toggled(what.lower(), over)
    collapsed = state.collapsed_among(over)
    shown = tuple(each for each in state.open if collapsed.isdisjoint(_above(view.span(each))))
    return replace(state, open=shown)


def _row_addresses(state: PageState) -> Callable[[str], str]:
    """Where the rows' links lead without JavaScript: to the same page with the details open, or closed if they are.

    They are relative and short, since there are thousands of them.
    """
    if len(state.collapsed) > _LONG_COLLAPSED:
        state = replace(state, collapsed=())
    prefix = replace(state, open=()).address("") or "?"
    prefix += "span=" if prefix == "?" else "&span="
    opened = "".join(f"{each}," for each in state.open)

    def address(span_id: str) -> str:
        if span_id in state.open:
            return state.closed(span_id).address("") or "?"
        return f"{prefix}{opened}{span_id}#s-{span_id}"

    return address


def _index(view: TraceView, state: PageState) -> int:
    span = view.span(state.open[-1]) if state.open else None
    return span.index if span is not None else -1


def _step(spans: list[SpanView], at: int, step: int, state: PageState, path: str) -> str:
    """The page with the next of ``spans`` open, counted from the index ``at``; going round."""
    if not spans:
        return state.address(path)
    if step > 0:
        chosen = next((span for span in spans if span.index > at), spans[0])
    else:
        chosen = next((span for span in reversed(spans) if span.index < at), spans[-1])
    return replace(state, open=(chosen.span_id,)).address(path)


def _found(hits: list[SpanView], at: int) -> str:
    place = next((number for number, span in enumerate(hits, 1) if span.index == at), None)
    if not hits:
        return "none"
    return f"{place} of {len(hits)}" if place else f"{len(hits)} found"


def _warnings(view: TraceView) -> list[str]:
    found = []
    orphans = sum(span.orphan for span in view.spans)
    if orphans:
        found.append(
            f"{_spans(orphans)} a parent that is not here: it may be on its way still, was not sampled, or was lost."
        )
    skewed = sorted({span.service for span in view.spans if span.skew})
    if skewed:
        found.append(
            f"The clocks of {', '.join(skewed[:5])}{' and others' if len(skewed) > 5 else ''} seem to differ from "
            "their callers'. Times are shown as they were received."
        )
    odd = sum(bool(span.warnings) and not span.orphan and not span.skew for span in view.spans)
    if odd:
        found.append(f"{odd} span{'s are' if odd > 1 else ' is'} marked as odd; the details say why.")
    return found


def _spans(count: int) -> str:
    return "1 span names" if count == 1 else f"{count} spans name"


def _share(part: int, whole: int) -> str:
    percent = 100 * part / whole
    return "<0.1\u202f%" if percent < 0.1 else f"{percent:.2g}\u202f%" if percent < 99.5 else "100\u202f%"


def _verdict(a: int, b: int, comparison: Comparison) -> str:
    delta = b - a
    share = f" ({100 * abs(delta) / a:.3g} %)" if a else ""
    if not delta:
        first = "B took exactly as long as A"
    else:
        first = f"B took {duration(abs(delta))}{share} {'longer' if delta > 0 else 'less'} than A"
    differing = [
        f"{comparison.counts[change]} {label}"
        for change, label in _CHANGES.items()
        if change != "same" and comparison.counts[change]
    ]
    paths = f"of {len(comparison.rows)} paths, {', '.join(differing)}" if differing else "no path differs notably"
    return f"{first}; {paths}."
