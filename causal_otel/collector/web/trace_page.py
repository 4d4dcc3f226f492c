"""The page of one trace, the details of its spans, what is found in it, and the whole of it as OTLP JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from causal_otel.collector.analysis import log_views
from causal_otel.collector.matching import summary
from causal_otel.collector.receive import otlp_json
from causal_otel.collector.web.page_state import PageState, parse_trace_id
from causal_otel.collector.web.span_details import LONG, LONGEST, SpanDetails, span_details
from causal_otel.collector.web.templating import HEADERS, colours, page
from causal_otel.collector.web.trace_logs import placed
from causal_otel.collector.web.views import Shown, Views
from causal_otel.collector.web.waterfall import CHUNK, find_spans, parents, waterfall
from causal_otel.collector.web.why import why

if TYPE_CHECKING:
    from starlette.requests import Request

    from causal_otel.collector.analysis import Explained, SpanView, TraceView
    from causal_otel.collector.reading import Reading
    from causal_otel.collector.web.trace_logs import LogList

__all__ = ["routes"]

_LONG_COLLAPSED = 20
_MOST_RECORDS = 100_000
"""Log records of a download."""


def routes(reading: Reading) -> list[Route]:
    """``/trace/{trace_id}``, and what it loads and offers under that address."""
    pages = _TracePages(reading)
    return [
        Route("/trace/{trace_id}.json", pages.trace_json),
        Route("/trace/{trace_id}/logs.json", pages.logs_json),
        Route("/trace/{trace_id}", pages.trace),
        Route("/trace/{trace_id}/find", pages.find),
        Route("/trace/{trace_id}/span/{span_id}", pages.span),
    ]


class _TracePages:
    """All of these read and draw in the threads of ``reading``, because a trace may have thousands of rows."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._reader = reading.reader
        self._views = Views(reading)

    async def trace(self, request: Request) -> Response:
        trace_id, toggled = parse_trace_id(request.path_params["trace_id"]), request.query_params.get("toggle")
        if toggled:
            return await self._views.recent(trace_id, partial(_toggle, request, toggled))
        return await self._views.fresh(trace_id, partial(self._trace_page, request))

    def _trace_page(self, request: Request, shown: Shown | None) -> Response:
        if shown is None:
            return self._no_spans(request)
        message, view, records, explained = shown
        path = f"/trace/{view.trace_id}"
        state = PageState.parse(request.query_params)
        over = parents(view)
        state = replace(state, open=tuple(each for each in state.open if view.span(each)))
        collapsed = state.collapsed_among(over)
        if state.open:
            collapsed.difference_update(_above(view.span(state.open[-1])))
        hits = find_spans(view, state.find, records) if state.find else []
        errors = [span for span in view.spans if span.error]
        chosen = colours(each.name for each in view.services)
        opened = {each: self._details(explained, each, chosen) for each in state.open}
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
                "why": why(explained),
                "waterfall": waterfall(
                    explained,
                    chosen,
                    collapsed=collapsed,
                    opened=opened,
                    hits={span.index for span in hits},
                    until=state.critical or "answer",
                ),
                "logs": placed(records, view.start),
                "goes_on": view.root is not None and view.end > view.root.end,
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
        trace_id = parse_trace_id(request.path_params["trace_id"])
        if trace_id is None:
            return _no_trace(request)
        return await self._reading.traces([trace_id], lambda: self._trace_json(request, trace_id))

    def _trace_json(self, request: Request, trace_id: bytes) -> Response:
        message = self._reader.trace(trace_id)
        if message is None:
            return _no_trace(request)
        return _download(f"trace-{trace_id.hex()}.json", otlp_json.dumps(message))

    async def logs_json(self, request: Request) -> Response:
        trace_id = parse_trace_id(request.path_params["trace_id"])
        if trace_id is None:
            return _no_trace(request)
        return await self._reading.run(lambda: self._logs_json(request, trace_id), large=True)

    def _logs_json(self, request: Request, trace_id: bytes) -> Response:
        found = self._reader.logs(trace_id, most=_MOST_RECORDS)
        if found is None:
            return _no_trace(request)
        return _download(f"trace-{trace_id.hex()}-logs.json", otlp_json.dumps(found.message))

    def _no_spans(self, request: Request) -> Response:
        """The page of a trace without spans, which may have log records all the same."""
        trace_id = parse_trace_id(request.path_params["trace_id"])
        records = log_views(None if trace_id is None else self._reader.logs(trace_id))
        start = records.records[0].time if records.records else 0
        return _no_trace(request, placed(records, start).elsewhere)

    async def span(self, request: Request) -> Response:
        """A span's details alone, for the page to put in its place."""
        return await self._views.recent(parse_trace_id(request.path_params["trace_id"]), partial(self._span, request))

    def _span(self, request: Request, shown: Shown | None) -> Response:
        span_id = request.path_params["span_id"].lower()
        if shown is None or shown.view.span(span_id) is None:
            return Response("There is no such span here.", 404, HEADERS, "text/plain")
        view = shown.view
        chosen = colours(each.name for each in view.services)
        context = {
            "details": self._details(shown.explained, span_id, chosen),
            "path": f"/trace/{view.trace_id}",
            "trace_id": view.trace_id,
            "long": LONG,
            "longest": LONGEST,
        }
        return page(request, "span_details.html", context)

    async def find(self, request: Request) -> Response:
        """The ids of the spans that hold a text."""
        trace_id = parse_trace_id(request.path_params["trace_id"])
        return await self._views.recent(trace_id, partial(self._find, request), all_spans=True)

    @staticmethod
    def _find(request: Request, shown: Shown | None) -> Response:
        if shown is None:
            return Response("There is no such trace here.", 404, HEADERS, "text/plain")
        text = PageState.parse({"find": request.query_params.get("text", "")}).find
        found = find_spans(shown.view, text, shown.logs) if text else []
        return JSONResponse({"spans": [span.span_id for span in found]}, headers=HEADERS)

    @staticmethod
    def _details(explained: Explained, span_id: str, chosen: dict[str, int]) -> SpanDetails:
        span = explained.view.span(span_id)
        assert span is not None
        return span_details(explained, span, chosen[span.service])


def _no_trace(request: Request, logs: LogList | None = None) -> Response:
    trace_id = request.path_params["trace_id"]
    context = {
        "trace_id": trace_id,
        "valid": parse_trace_id(trace_id),
        "logs": logs if logs is not None and logs.rows else None,
        "long": LONG,
        "longest": LONGEST,
    }
    return page(request, "no_trace.html", context, status=404)


def _download(name: str, content: bytes) -> Response:
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type="application/json", headers=headers)


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
    others = sum(bool(span.warnings) and not span.orphan and not span.skew for span in view.spans)
    if others:
        found.append(f"{others} span{'s have' if others > 1 else ' has'} a warning; the details say which.")
    return found


def _spans(count: int) -> str:
    return "1 span names" if count == 1 else f"{count} spans name"
