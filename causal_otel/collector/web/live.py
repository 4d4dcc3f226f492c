"""The live tail: traces as they come in, as a page and as server-sent events that keep it up to date."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import anyio
from anyio.to_thread import run_sync
from starlette.responses import StreamingResponse
from starlette.routing import Route

from causal_otel.collector.web.first_steps import otlp_endpoint
from causal_otel.collector.web.templating import HEADERS, colours, fragment, page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.collector.query import Recent, TraceReader

__all__ = ["SHOWN", "routes"]

SHOWN = 50
"""Traces that are shown, and that are sent at a time."""

_SECONDS_BETWEEN = 1.0
_STREAM_SECONDS = 600.0


def routes(reader: TraceReader, status: Callable[[], dict[str, Any]]) -> list[Route]:
    """``/live`` and ``/ui/live``."""

    def live(request: Request) -> Response:  # not async: it is called from a thread
        return _page(reader, request, status)

    async def events(request: Request) -> Response:
        return StreamingResponse(_events(reader, _View.read(request)), media_type="text/event-stream", headers=HEADERS)

    return [Route("/live", live), Route("/ui/live", events)]


@dataclass(frozen=True, slots=True)
class _View:
    """Which traces are shown, as the address has it."""

    service: str = ""
    errors: str = ""

    @classmethod
    def read(cls, request: Request) -> _View:
        return cls(request.query_params.get("service", ""), request.query_params.get("errors", ""))

    def recent(self, reader: TraceReader, after: object = None) -> Recent:
        """Those that were received last; with a mark, since then."""
        return reader.recent(SHOWN, service=self.service or None, errors=bool(self.errors), after=after)

    @property
    def parameters(self) -> str:
        given = {"service": self.service, "errors": self.errors}
        return urlencode({name: value for name, value in given.items() if value})


def _page(reader: TraceReader, request: Request, status: Callable[[], dict[str, Any]]) -> Response:
    view, services = _View.read(request), reader.services()
    traces = reader.summaries(view.recent(reader).trace_ids)
    context = {
        "view": view,
        "services": services,
        "traces": traces,
        "colours": colours([*services, *(each.name for trace in traces for each in trace.services)]),
        "now": time.time_ns(),
        "shown": SHOWN,
        "endpoint": "" if services else otlp_endpoint(request, status),
    }
    return page(request, "live.html", context)


async def _events(reader: TraceReader, view: _View) -> AsyncIterator[str]:
    """Every second what has come or changed, oldest first, as rows of the page; a comment if nothing has.

    Where more has come than is shown, the event ``more`` tells how many others.

    The stream ends after a while, and the browser asks for another: a server that stops waits no longer than that.
    """
    mark: object = None
    until = anyio.current_time() + _STREAM_SECONDS
    yield "retry: 1000\n\n"
    while anyio.current_time() < until:
        events, mark = await run_sync(_changes, reader, view, mark)
        # The comment finds out whether anybody is still there.
        yield "".join(events) or ": nothing new\n\n"
        await anyio.sleep(_SECONDS_BETWEEN)


def _changes(reader: TraceReader, view: _View, mark: object) -> tuple[list[str], object]:
    """The events for what was received since a mark, and the next mark."""
    recent = view.recent(reader, mark)
    traces = reader.summaries(recent.trace_ids)
    if not traces:
        return [], recent.mark
    chosen = colours([*reader.services(), *(each.name for trace in traces for each in trace.services)])
    now = time.time_ns()
    rows = [fragment("_traces.html", "trace_row", trace, chosen, now, 0) for trace in reversed(traces)]
    told = [f"event: more\ndata: {recent.more}\n\n"] if recent.more else []
    return [*map(_event, rows), *told], recent.mark


def _event(html: str) -> str:
    return "".join(f"data: {line}\n" for line in html.splitlines() if line.strip()) + "\n"
