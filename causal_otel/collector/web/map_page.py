"""The page that draws which services call what, and the same as JSON."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from starlette.responses import JSONResponse
from starlette.routing import Route

from causal_otel.collector.trends.documents import incomplete
from causal_otel.collector.trends.topology import topology
from causal_otel.collector.units import parse_duration, rate
from causal_otel.collector.web.addresses import service_address, with_parameters
from causal_otel.collector.web.figures_json import period_of
from causal_otel.collector.web.forms import LOOKBACKS, SearchForm
from causal_otel.collector.web.map_view import RATES, MapState, draw, shown
from causal_otel.collector.web.partial import partial_result
from causal_otel.collector.web.templating import HEADERS, colours, page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.collector.query import TraceReader
    from causal_otel.collector.trends.topology import Edge, Node, Topology

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


class _Read(NamedTuple):
    """What was read, and the reader's ``since``."""

    topology: Topology
    since: int


class _Topologies:
    """What was asked for last. Each is kept for fifty times as long as it took to read: the next click needs it again.

    Over thirty days of fifty services that is a second; so clicks never keep the collector busy with reading.
    """

    def __init__(self, reader: TraceReader) -> None:
        self._reader = reader
        self._kept: dict[int, tuple[float, _Read]] = {}
        self._turn = threading.Lock()

    def last(self, lookback: int) -> _Read:
        """Of the last ``lookback`` nanoseconds."""
        with self._turn:
            began = time.monotonic()
            self._kept = {key: each for key, each in self._kept.items() if each[0] > began}
            if lookback not in self._kept:
                now = time.time_ns()
                found = self.between(now - lookback, now)
                took = time.monotonic() - began
                self._kept[lookback] = began + took + min(_KEPT_SECONDS, 50 * took), found
            return self._kept[lookback][1]

    def between(self, start: int, end: int) -> _Read:
        """Of a time that nobody may ask for again."""
        reader = self._reader.bounded()
        return _Read(topology(reader, start, end), reader.since)


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
        whole, since = self._topologies.last(lookback)
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
            "searches": _Searches(nodes, lookback),
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
            **partial_result(since, whole.start),
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
            whole, since = self._topologies.between(period.start, period.end)
        else:
            whole, since = self._topologies.last(period.end - period.start)
        state = MapState.read(given)
        # A service is a node: what the other documents call it is another word for the focus.
        found = shown(whole, replace(state, focus=given.get("service", "") or state.focus))
        return JSONResponse({**found.document(), **incomplete(since, whole.start)}, headers=HEADERS)


def _lookback(text: str) -> int:
    """Nanoseconds.

    Raises:
        ValueError: It is no time that a map can be of.
    """
    lookback = parse_duration(text)
    if not 0 < lookback <= _LONGEST_LOOKBACK:
        raise ValueError(f"{text[:40]!r} is not between nothing and a year")
    return lookback


class _Searches:
    """Where nodes and edges lead to.

    Args:
        nodes: by name.
        lookback: nanoseconds.
    """

    def __init__(self, nodes: Mapping[str, Node], lookback: int) -> None:
        self._nodes = nodes
        self._back = _back(lookback)

    def node(self, node: Node, **more: str) -> str:
        """The search for traces with spans of a service, or of others that call it."""
        if node.kind == "service":
            return SearchForm(service=node.name, lookback=self._back).address(**more)
        return SearchForm(system=node.system, lookback=self._back).address(**more)

    def edge(self, edge: Edge, **more: str) -> str:
        """The search for traces with such calls; of a service's calls of another: with any requests of the other."""
        parent, child = self._nodes[edge.parent], self._nodes[edge.child]
        if child.kind != "service":
            form = SearchForm(service=parent.name, system=child.system)
        elif parent.kind != "service":
            form = SearchForm(service=child.name, system=parent.system, kind="consumer")
        else:
            form = SearchForm(service=child.name)
        return form.address(lookback=self._back, **more)

    def service(self, name: str) -> str:
        """The page of a service."""
        return service_address(name, lookback=self._back)


def _back(lookback: int) -> str:
    """What other pages call a time that is at least as long, if there is any."""
    return next((name for name, (_, length) in LOOKBACKS.items() if length >= lookback), "30d")


def _links(node: Node, lookback: int) -> list[tuple[str, str]]:
    """Where a node leads to: what each link says, and its address."""
    back = _back(lookback)
    if node.kind != "service":
        form = SearchForm(system=node.system, lookback=back)
        return [("Traces", form.address()), ("Failed calls", form.address(errors="1"))]
    form = SearchForm(service=node.name, lookback=back)
    return [
        ("Service", service_address(node.name, lookback=back)),
        ("Operations", with_parameters("/operations", {"service": node.name, "lookback": back})),
        ("Traces", form.address()),
        ("Failed spans", form.address(errors="1")),
    ]
