"""The live tail: traces as they come in, as a page and as server-sent events that keep it up to date."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
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

    from causal_otel.collector.query import Recent, Summary, TraceReader
    from causal_otel.collector.reading import Reading

__all__ = ["SHOWN", "routes"]

SHOWN = 50
"""Traces that are shown, and that are sent at a time."""

_SECONDS_BETWEEN = 1.0
_STREAM_SECONDS = 600.0


def routes(reading: Reading, status: Callable[[], dict[str, Any]]) -> list[Route]:
    """``/live`` and ``/ui/live``."""

    async def live(request: Request) -> Response:
        view = _View.read(request)
        recent = await run_sync(view.recent, reading.reader)
        return await reading.summaries(recent.trace_ids, partial(_page, reading.reader, request, status, view))

    async def events(request: Request) -> Response:
        return StreamingResponse(_events(reading, _View.read(request)), media_type="text/event-stream", headers=HEADERS)

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


def _page(
    reader: TraceReader, request: Request, status: Callable[[], dict[str, Any]], view: _View, traces: list[Summary]
) -> Response:
    services = reader.services()
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


async def _events(reading: Reading, view: _View) -> AsyncIterator[str]:
    """Every second what has come or changed, oldest first, as rows of the page; a comment if nothing has.

    Where more has come than is shown, the event ``more`` tells how many others.

    The stream ends after a while, and the browser asks for another: a server that stops waits no longer than that.
    """
    mark: object = None
    until = anyio.current_time() + _STREAM_SECONDS
    yield "retry: 1000\n\n"
    while anyio.current_time() < until:
        recent = await run_sync(view.recent, reading.reader, mark)
        mark = recent.mark
        events = await reading.summaries(recent.trace_ids, partial(_changes, reading.reader, recent))
        # The comment finds out whether anybody is still there.
        yield "".join(events) or ": nothing new\n\n"
        await anyio.sleep(_SECONDS_BETWEEN)


def _changes(reader: TraceReader, recent: Recent, traces: list[Summary]) -> list[str]:
    """The events for ``traces``, which are the recent ones."""
    if not traces:
        return []
    chosen = colours([*reader.services(), *(each.name for trace in traces for each in trace.services)])
    now = time.time_ns()
    rows = [fragment("_traces.html", "trace_row", trace, chosen, now, 0) for trace in reversed(traces)]
    more = [f"event: more\ndata: {recent.more}\n\n"] if recent.more else []
    return [*map(_event, rows), *more]


def _event(html: str) -> str:
    return "".join(f"data: {line}\n" for line in html.splitlines() if line.strip()) + "\n"
