"""The live tail: traces as they come in, as a page and as server-sent events that keep it up to date."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from causal_otel.collector.web.first_steps import otlp_endpoint
from causal_otel.collector.web.live_feed import SHOWN, Feed, Last, last
from causal_otel.collector.web.live_filter import FormError, read, wanted
from causal_otel.collector.web.templating import HEADERS, colours, page

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from causal_otel.collector.query import TraceReader
    from causal_otel.collector.reading import Reading
    from causal_otel.collector.web.live_filter import LiveFilter

__all__ = ["routes"]


def routes(reading: Reading, status: Callable[[], dict[str, Any]]) -> list[Route]:
    """``/live`` and ``/ui/live``."""
    reader, feed = reading.reader, Feed(reading.reader)

    async def live(request: Request) -> Response:
        try:
            asked = wanted(request.query_params)
        except FormError as error:
            return await run_sync(partial(_page, reader, request, status, None, Last((), None), dict(error.fields)))
        # Its turn is that of lists: it may read large traces, and shows a line of each.
        return await reading.lists(lambda: _page(reader, request, status, asked, last(reader, asked), {}))

    async def events(request: Request) -> Response:
        try:
            asked = wanted(request.query_params)
        except FormError as error:
            return Response(str(error), 400, HEADERS, "text/plain")
        if not feed.has_room(asked):
            return Response("Too many live pages are open.", 503, HEADERS, "text/plain")
        return StreamingResponse(feed.events(asked), media_type="text/event-stream", headers=HEADERS)

    return [Route("/live", live), Route("/ui/live", events)]


def _page(
    reader: TraceReader,
    request: Request,
    status: Callable[[], dict[str, Any]],
    asked: LiveFilter | None,
    found: Last,
    mistakes: dict[str, str],
) -> Response:
    form, worst_first = read(request.query_params)
    services = reader.services()
    operations = sorted({each.name for each in reader.operations(form.service)}) if form.service else []
    context = {
        "form": form,
        "worst_first": worst_first,
        "filter": asked,
        "mistakes": mistakes,
        "services": services,
        "operations": operations,
        "traces": found.traces,
        "looked_at": found.looked_at,
        "colours": colours(each.name for trace in found.traces for each in trace.services),
        "now": time.time_ns(),
        "shown": SHOWN,
        "endpoint": "" if services else otlp_endpoint(request, status),
    }
    return page(request, "live.html", context, status=400 if mistakes else 200)
