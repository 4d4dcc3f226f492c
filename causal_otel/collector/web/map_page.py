"""The page that draws which services call what, and the same as JSON."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.responses import JSONResponse
from starlette.routing import Route

from causal_otel.collector.trends.topology import topology
from causal_otel.collector.units import parse_duration, rate
from causal_otel.collector.web.figures_json import period_of
from causal_otel.collector.web.forms import LOOKBACKS, SearchForm
from causal_otel.collector.web.map_view import RATES, MapState, draw, shown
from causal_otel.collector.web.templating import HEADERS, colours, page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.collector.query import TraceReader
    from causal_otel.collector.trends.topology import Node, Topology

__all__ = ["ROWS", "routes"]

ROWS = 500
"""Rows of a table."""

_LOOKBACKS = ("1h", "6h", "24h", "7d", "30d")
_LONGEST_LOOKBACK = 366 * 86400 * 10**9
_MATCHES = 20
_KEPT_SECONDS = 60.0


def routes(reader: TraceReader) -> list[Route]:
    """``/map`` and ``/map.json``."""
    pages = _Pages(reader)
    # Starlette calls what is not async from threads, where it may wait for the disk.
    return [Route("/map", pages.page), Route("/map.json", pages.document)]


class _Topologies:
    """What was asked for last. Each is kept for fifty times as long as it took to read: the next click needs it again.

    Over thirty days of fifty services that is a second; so clicks never keep the collector busy with reading.
    """

    def __init__(self, reader: TraceReader) -> None:
        self._reader = reader
        self._kept: dict[int, tuple[float, Topology]] = {}
        self._turn = threading.Lock()

    def between(self, start: int, end: int) -> Topology:
        """Of a time that is told by its ends, which nobody asks for twice; one such is read at a time."""
        with self._turn:
            return topology(self._reader, start, end)

    def last(self, lookback: int) -> Topology:
        """Of the last ``lookback`` nanoseconds."""
        with self._turn:
            began = time.monotonic()
            self._kept = {key: each for key, each in self._kept.items() if each[0] > began}
            if lookback not in self._kept:
                now = time.time_ns()
                found = topology(self._reader, now - lookback, now)
                took = time.monotonic() - began
                self._kept[lookback] = began + took + min(_KEPT_SECONDS, 50 * took), found
            return self._kept[lookback][1]


class _Pages:
    def __init__(self, reader: TraceReader) -> None:
        self._reader = reader
        self._topologies = _Topologies(reader)

    def page(self, request: Request) -> Response:
        state, problem = MapState.read(request.query_params), ""
        try:
            lookback = _lookback(state.lookback)
        except ValueError as error:
            problem = f"The time cannot be used: {error}."
            state = MapState()
            lookback = _lookback(state.lookback)
        whole = self._topologies.last(lookback)
        nodes = {node.name: node for node in whole.nodes}
        focus = nodes.get(state.focus)
        missing = state.focus if focus is None else ""
        if missing:
            state = replace(state, focus="")
        seen = shown(whole, state)
        matches = [name for name in nodes if state.find and state.find.casefold() in name.casefold()]
        context = {
            "state": state,
            "map": seen,
            "drawing": draw(seen, state.focus) if seen.nodes else None,
            "focus": focus,
            "missing": missing,
            "links": _links(focus, lookback) if focus else [],
            "nodes": sorted(seen.nodes, key=lambda node: (-node.calls, node.name)),
            "edges": sorted(seen.edges, key=lambda edge: (-edge.calls, edge.parent, edge.child)),
            "rows": ROWS,
            "kinds": {node.name: node.kind for node in whole.nodes},
            "names": list(nodes)[:ROWS],
            "matches": matches,
            "first_matches": matches[:_MATCHES],
            "lookbacks": _LOOKBACKS,
            "rates": RATES,
            "problem": problem,
            "colours": colours([node.name for node in whole.nodes if node.kind == "service"]),
            "rate": lambda calls: rate(calls, whole.seconds),
        }
        return page(request, "map.html", context, status=400 if problem else 200)

    def document(self, request: Request) -> Response:
        given, mistakes = request.query_params, dict[str, str]()
        period = period_of(given, mistakes)
        if period is None:
            return JSONResponse({"mistakes": mistakes}, status_code=400, headers=HEADERS)
        if given.get("start") or given.get("end"):
            whole = self._topologies.between(period.start, period.end)
        else:
            whole = self._topologies.last(period.end - period.start)
        state = MapState.read(given)
        # A service is a node: what the other documents call it is another word for the focus.
        found = shown(whole, replace(state, focus=given.get("service", "") or state.focus))
        return JSONResponse(found.document(), headers=HEADERS)


def _lookback(text: str) -> int:
    """Nanoseconds.

    Raises:
        ValueError: It is no time that a map can be of.
    """
    lookback = parse_duration(text)
    if not 0 < lookback <= _LONGEST_LOOKBACK:
        raise ValueError(f"{text[:40]!r} is not between nothing and a year")
    return lookback


def _links(node: Node, lookback: int) -> list[tuple[str, str]]:
    """Where a node leads to: what each link says, and its address."""
    back = next((name for name, (_, length) in LOOKBACKS.items() if length >= lookback), "30d")
    if node.kind != "service":
        form = SearchForm(system=node.system, lookback=back)
        return [("Traces", form.address()), ("Failed calls", form.address(errors="1"))]
    form = SearchForm(service=node.name, lookback=back)
    query = urlencode({"service": node.name, "lookback": back})
    return [
        ("Service", f"/service?{query}"),
        ("Operations", f"/operations?{query}"),
        ("Traces", form.address()),
        ("Failed spans", form.address(errors="1")),
    ]
