"""The page of one trace, the details of its spans, what is found in it, and the whole of it as OTLP JSON."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from causal_otel.collector.analysis import log_views
from causal_otel.collector.receive import otlp_json
from causal_otel.collector.web.layout import stops
from causal_otel.collector.web.page_state import PageState, parse_trace_id
from causal_otel.collector.web.span_details import LONG, LONGEST
from causal_otel.collector.web.templating import HEADERS, colours, page
from causal_otel.collector.web.trace_logs import listed
from causal_otel.collector.web.trace_screen import TraceScreen, above
from causal_otel.collector.web.views import Shown, Views
from causal_otel.collector.web.waterfall import parents

if TYPE_CHECKING:
    from starlette.requests import Request

    from causal_otel.collector.analysis import TraceView
    from causal_otel.collector.reading import Reading
    from causal_otel.collector.web.trace_logs import LogList

__all__ = ["routes"]

IN_PLACE = "x-causal-otel-in-place"
"""The header by which a page asks for itself in another state: it is answered with the trace as it was a moment ago."""

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
        if IN_PLACE in request.headers:
            explains = PageState.parse(request.query_params).why
            return await self._views.recent(trace_id, partial(self._trace_page, request), all_spans=explains)
        return await self._views.fresh(trace_id, partial(self._trace_page, request))

    def _trace_page(self, request: Request, shown: Shown | None) -> Response:
        if shown is None:
            return self._no_spans(request)
        state = PageState.parse(request.query_params)
        chosen = colours(each.name for each in shown.view.services)
        return page(request, "trace.html", TraceScreen(shown, state, chosen).context())

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
        return _no_trace(request, listed(log_views(None if trace_id is None else self._reader.logs(trace_id))))

    async def span(self, request: Request) -> Response:
        """A span's details alone, for the page to put in its place."""
        return await self._views.recent(parse_trace_id(request.path_params["trace_id"]), partial(self._span, request))

    def _span(self, request: Request, shown: Shown | None) -> Response:
        span_id = request.path_params["span_id"].lower()
        if shown is None or shown.view.span(span_id) is None:
            return Response("There is no such span here.", 404, HEADERS, "text/plain")
        chosen = colours(each.name for each in shown.view.services)
        screen = TraceScreen(shown, PageState.parse(request.query_params), chosen)
        return page(request, "span_details.html", screen.span_context(span_id))

    async def find(self, request: Request) -> Response:
        """Which spans hold a text, and where they are on the page whose parameters these are."""
        trace_id = parse_trace_id(request.path_params["trace_id"])
        return await self._views.recent(trace_id, partial(self._find, request), all_spans=True)

    @staticmethod
    def _find(request: Request, shown: Shown | None) -> Response:
        if shown is None:
            return Response("There is no such trace here.", 404, HEADERS, "text/plain")
        state = replace(
            PageState.parse(request.query_params),
            find=PageState.parse({"find": request.query_params.get("text", "")}).find,
        )
        screen = TraceScreen(shown, state, {})
        return JSONResponse({"count": len(screen.hits), "stops": stops(screen.layout, screen.hits)}, headers=HEADERS)


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
    shown = tuple(each for each in state.open if collapsed.isdisjoint(above(view.span(each))))
    return replace(state, open=shown)
