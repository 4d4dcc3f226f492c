"""The page that draws which services call which."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from starlette.routing import Route

from causal_otel.collector.units import parse_duration
from causal_otel.collector.web.service_map import rates, service_map
from causal_otel.collector.web.templating import colours, page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.collector.query import TraceReader

__all__ = ["routes"]

_LOOKBACKS = ("1h", "6h", "24h", "7d", "30d")
_LONGEST_LOOKBACK = 366 * 86400 * 10**9


def routes(reader: TraceReader) -> list[Route]:
    """``/map``."""
    # Starlette calls what is not async from threads, where it may wait for the disk.
    return [Route("/map", partial(_map_page, reader))]


def _map_page(reader: TraceReader, request: Request) -> Response:
    asked = request.query_params.get("lookback", "24h").strip()
    problem = ""
    try:
        lookback = parse_duration(asked)
        if not 0 < lookback <= _LONGEST_LOOKBACK:
            raise ValueError(f"{asked[:40]!r} is not between nothing and a year")
    except ValueError as error:
        asked, lookback, problem = "24h", parse_duration("24h"), f"The time cannot be used: {error}."
    now = time.time_ns()
    calls = reader.dependencies(now - lookback, now)
    drawn = service_map(calls, reader.statistics(now - lookback, now))
    services = {name for call in calls for name in (call.parent, call.child)}
    context = {
        "map": drawn,
        "calls": sorted(calls, key=lambda call: (-call.calls, call.parent, call.child)),
        "lookback": asked,
        "lookbacks": _LOOKBACKS,
        "problem": problem,
        "colours": colours([*services, *(node.name for node in drawn.nodes)]),
        "rate": rates(max((call.calls for call in calls), default=0), lookback / 10**9),
        "share": _share,
    }
    return page(request, "map.html", context, status=400 if problem else 200)


def _share(part: int, whole: int) -> str:
    percent = 100 * part / whole
    return "<0.1\u202f%" if percent < 0.1 else f"{percent:.2g}\u202f%" if percent < 99.5 else "100\u202f%"
