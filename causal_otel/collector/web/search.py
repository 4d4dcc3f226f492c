"""The search page, what it offers while somebody types, how many traces match, and the jump to a trace by its id."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter, to_thread
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

from causal_otel.collector.attributes import KINDS
from causal_otel.collector.completion import complete
from causal_otel.collector.query import Found
from causal_otel.collector.web.box import different_address, is_narrowed, outer_form
from causal_otel.collector.web.compare_groups import beside, put_beside
from causal_otel.collector.web.first_steps import otlp_endpoint
from causal_otel.collector.web.forms import LIMIT, LOOKBACKS, SORTS, FormError, Place, SearchForm
from causal_otel.collector.web.heat_map import draw as draw_heat
from causal_otel.collector.web.listing import Listed, listing, total
from causal_otel.collector.web.templating import HEADERS, colours, page
from causal_otel.collector.web.words import Words

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.collector.heat import HeatMap
    from causal_otel.collector.query import Query, Summary
    from causal_otel.collector.reading import Reading

__all__ = ["routes"]

_COUNT_SECONDS = 0.5
_HEAT_SECONDS = 0.1
"""How long a page may be held up for the heat map."""
_TRACE_ID = re.compile(r"[0-9a-f]{1,32}")

_ORDERS = {
    "newest": "the newest first",
    "oldest": "the oldest first",
    "longest": "the longest first, of all that match",
    "spans": "those with the most spans first, of all that match",
    "errors": "those with the most errors first, of all that match",
}
"""What the page says of the traces that it shows, by the order."""


def routes(reading: Reading, status: Callable[[], dict[str, Any]]) -> list[Route]:
    """``/``, ``/search.json``, ``/jump``, ``/ui/operations``, ``/ui/complete`` and ``/ui/count``."""
    pages = _Search(reading, status)
    # Starlette calls those that are not async from threads, where they may wait for the disk.
    return [
        Route("/", pages.search),
        Route("/search.json", pages.document),
        Route("/jump", pages.jump),
        Route("/ui/operations", pages.operations),
        Route("/ui/complete", pages.complete),
        Route("/ui/count", pages.count),
    ]


class _Search:
    def __init__(self, reading: Reading, status: Callable[[], dict[str, Any]]) -> None:
        self._reading = reading
        self._reader = reading.reader
        self._status = status
        self._words = Words(reading.reader)
        # Counting is for the page that is looked at: those behind it wait.
        self._count_turn = CapacityLimiter(1)

    def operations(self, request: Request) -> Response:
        return JSONResponse(self._operations(request.query_params.get("service", "")), headers=HEADERS)

    def complete(self, request: Request) -> Response:
        """What may stand at a place of the query line; places are those of JavaScript, in UTF-16."""
        given = request.query_params
        line, at = given.get("q", ""), given.get("at", "")
        place = int(at) if at.isascii() and at.isdecimal() and len(at) < 6 else len(line) * 2
        before = line.encode("utf-16-le", "surrogatepass")[: 2 * place].decode("utf-16-le", "replace")
        found = complete(line, len(before), self._words.now(), service=given.get("service", ""))
        document = {
            "begin": _in_utf_16(line[: found.begin]),
            "end": _in_utf_16(line[: found.end]),
            "offers": [{"text": offer.text, "note": offer.note} for offer in found.offers],
        }
        return JSONResponse(document, headers=HEADERS)

    async def count(self, request: Request) -> Response:
        """How many traces match, for programs and for the page's script."""
        try:
            query = SearchForm.read(request.query_params).query(time.time_ns())
        except FormError as error:
            return JSONResponse({"mistakes": dict(error.fields)}, status_code=400, headers=HEADERS)
        ask = partial(self._reader.count, query, seconds=_COUNT_SECONDS)
        counted = await to_thread.run_sync(ask, limiter=self._count_turn)
        document = {"traces": counted.traces, "complete": counted.complete, "says": total(counted)}
        return JSONResponse(document, headers=HEADERS)

    def jump(self, request: Request) -> Response:
        text = re.sub(r"[\s-]", "", request.query_params.get("trace", "")).lower().removeprefix("0x")
        if not _TRACE_ID.fullmatch(text) or not text.strip("0"):
            context = {
                "heading": "This is not a trace id",
                "message": "A trace id is 32 hexadecimal digits (0-9, a-f), not all of them 0. "
                "Leading zeros may be left out.",
            }
            return page(request, "error.html", context, status=400)
        return RedirectResponse(f"/trace/{text:0>32}", status_code=303)

    async def search(self, request: Request) -> Response:
        form = SearchForm.read(request.query_params)
        now = time.time_ns()
        query: Query | None = None
        mistakes: dict[str, str] = {}
        try:
            query = form.query(now)
        except FormError as error:
            mistakes = dict(error.fields)
        listed, heat = Listed(form, Found(())), None
        if query is not None:
            listed = await to_thread.run_sync(listing, self._reader, form, query)
            if listed.found.trace_ids:
                heat = await to_thread.run_sync(partial(self._reader.heat, query, seconds=_HEAT_SECONDS))
        draw = partial(self._search_page, request, listed, heat, now, query, mistakes)
        return await self._reading.summaries(listed.found.trace_ids, draw)

    def _search_page(
        self,
        request: Request,
        listed: Listed,
        heat: HeatMap | None,
        now: int,
        query: Query | None,
        mistakes: dict[str, str],
        traces: list[Summary],
    ) -> Response:
        services = self._reader.services()
        form = listed.form
        narrowed = is_narrowed(form)
        around = outer_form(form, query, now) if narrowed and query else form
        context = {
            "form": form,
            "defaults": SearchForm(),
            "mistakes": mistakes,
            "query": query,
            "traces": traces,
            "listed": listed,
            "total": total,
            "found": listed.found,
            "order": _ORDERS[form.sort],
            "heat": draw_heat(heat, form) if heat is not None else None,
            "different": different_address(form, query, now) if narrowed and query else "",
            "outer": around.address() if narrowed and query else "",
            "beside": beside(form),
            "put_beside": put_beside(around, form),
            "services": services,
            "operations": self._operations(form.service),
            "colours": colours(count.name for trace in traces for count in trace.services),
            "longest": max((trace.duration for trace in traces), default=0),
            "suggestions": _suggestions(form) if query and not traces else [],
            "now": now,
            "endpoint": "" if services else otlp_endpoint(request, self._status),
            "kinds": KINDS,
            "lookbacks": LOOKBACKS,
            "sorts": SORTS,
            "limit": LIMIT,
        }
        return page(request, "search.html", context, status=400 if mistakes else 200)

    async def document(self, request: Request) -> Response:
        """What the page shows, for programs."""
        try:
            query = SearchForm.read(request.query_params).query(time.time_ns())
        except FormError as error:
            return JSONResponse({"mistakes": dict(error.fields)}, status_code=400, headers=HEADERS)
        found = await to_thread.run_sync(self._reader.search, query)
        after = None
        if found.last is not None and len(found.trace_ids) == query.limit:
            after = str(Place(0, found.last))
        return await self._reading.summaries(found.trace_ids, partial(_document, found, after))

    def _operations(self, service: str) -> list[str]:
        return sorted({operation.name for operation in self._reader.operations(service)}) if service else []


def _document(found: Found, after: str | None, traces: list[Summary]) -> Response:
    document = {
        "traces": [each.document() for each in traces],
        "complete": found.complete,
        "compared_since_unix_nano": found.since,
        "next": after,
    }
    return JSONResponse(document, headers=HEADERS)


def _in_utf_16(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _suggestions(form: SearchForm) -> list[tuple[str, str]]:
    """Wider searches than one that found nothing: what each is called, and its address."""
    found = []
    widest = next(reversed(LOOKBACKS))
    if form.start or form.end or form.lookback != widest:
        everything = replace(form, start="", end="", lookback=widest)
        found.append(("Search the last 30 days", everything.address()))
    for name, label in (
        ("q", "Search without the query line"),
        ("tags", "Search without the tags"),
        ("operation", "Search all operations"),
        ("service", "Search all services"),
        ("kind", "Search all kinds"),
        ("system", "Search all systems"),
        ("errors", "Include spans without errors"),
        ("logs", "Search whatever was logged"),
    ):
        if getattr(form, name):
            # An operation is one of its service's.
            dropped = {name: "", "operation": ""} if name == "service" else {name: ""}
            found.append((label, form.address(**dropped)))
    if form.shortest or form.longest:
        found.append(("Search all durations", form.address(shortest="", longest="")))
    return found
