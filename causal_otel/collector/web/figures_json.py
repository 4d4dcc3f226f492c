"""The figures of pages for programs: ``/operations.json`` and ``/errors.json``. ``/map.json`` is with its page."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

from causal_otel.collector.query_line import operation as read_operation
from causal_otel.collector.trends.documents import figures
from causal_otel.collector.trends.periods import Period
from causal_otel.collector.units import moment, parse_duration
from causal_otel.collector.web.templating import HEADERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.collector.query import TraceReader

__all__ = ["period_of", "routes"]

_DEFAULT = "24h"


def routes(reader: TraceReader) -> list[Route]:
    """The documents. They take ``service``, ``operation``, and ``lookback`` or ``start`` and ``end``."""
    # Starlette calls what is not async from threads, where it may wait for the disk.
    return [Route(f"/{name}.json", partial(_answer, reader, name)) for name in ("operations", "errors")]


def _answer(reader: TraceReader, name: str, request: Request) -> Response:
    given = request.query_params
    mistakes: dict[str, str] = {}
    period = period_of(given, mistakes)
    try:
        read_operation(given.get("operation", ""))
    except ValueError as error:
        mistakes["operation"] = str(error)
    if period is None or mistakes:
        return JSONResponse({"mistakes": mistakes}, status_code=400, headers=HEADERS)
    document = figures(reader.bounded(), name, given.get("service") or None, period, given.get("operation", ""))
    return JSONResponse(document, headers=HEADERS)


def period_of(given: Mapping[str, str], mistakes: dict[str, str]) -> Period | None:
    """The time that an address's ``lookback``, or ``start`` and ``end``, tell.

    Args:
        given: the address's parameters.
        mistakes: gets a sentence for each parameter that cannot be understood.

    Returns:
        None: There is a mistake.
    """

    def read(name: str, reader: Callable[[str], int], text: str) -> int | None:
        try:
            return reader(text) if text else None
        except ValueError as error:
            mistakes[name] = str(error)
            return None

    end = read("end", moment, given.get("end", ""))
    start = read("start", moment, given.get("start", ""))
    back = read("lookback", parse_duration, given.get("lookback", "") or _DEFAULT)
    until = time.time_ns() if end is None else end
    told = "lookback" if start is None else "start"
    if start is None:
        start = max(0, until - (back or 0))
        if back == 0:
            mistakes[told] = "a time longer than nothing is needed"
    if mistakes:
        return None
    try:
        return Period.checked(start, until)
    except ValueError as error:
        mistakes[told] = str(error)
        return None
