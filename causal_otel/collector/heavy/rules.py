"""Which requests are heavy: those that are seconds of Python."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from causal_otel.collector.units import parse_duration
from causal_otel.collector.web.compare_groups import asks_for_groups
from causal_otel.collector.web.figures_json import period_of
from causal_otel.collector.web.forms import LOOKBACKS, FormError, SearchForm
from causal_otel.collector.web.page_state import parse_trace_id
from causal_otel.collector.web.trend_state import TrendState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["HEAVY_SPANS", "key_of", "traces_of"]

HEAVY_SPANS = 5000
"""Spans of a trace, or of the two that are compared, from which on it is worth while: half a second of Python."""

_DAY = 86400 * 10**9
_LONG = 2 * _DAY
_LONG_OF_OPERATION = 7 * _DAY
"""One operation has so few figures that those of a week, which its page shows first, are read at once."""
_LONG_LOOKBACKS = frozenset(name for name, (_, length) in LOOKBACKS.items() if length > _LONG)
_OF_TRACE = re.compile(r"/(?:trace|api/traces|api/v3/traces)/([0-9a-fA-F-]{1,40})(?:\.json|/.*)?")


def traces_of(path: str, parameters: Mapping[str, str]) -> list[bytes]:
    """The traces whose spans decide it; none: it does not depend on them."""
    if match := _OF_TRACE.fullmatch(path):
        written: Sequence[str] = (match[1],)
    elif path == "/compare" and not asks_for_groups(parameters):
        written = [parameters.get(name, "") for name in ("a", "b")]
    else:
        return []
    return [trace_id for each in written if (trace_id := parse_trace_id(each.strip())) is not None]


def key_of(path: str, parameters: Mapping[str, str], span_count: Callable[[], int]) -> str:
    """What a worker knows already that has answered the same; empty: the request is not heavy.

    Args:
        path: the request's.
        parameters: those of its query.
        span_count: how many spans :func:`traces_of` have together; asked only if it matters.
    """
    traces = traces_of(path, parameters)
    if traces:
        return traces[0].hex() if span_count() >= HEAVY_SPANS else ""
    if path == "/compare":
        return path if asks_for_groups(parameters) and len(parameters) > 1 else ""
    if path == "/different":
        return path
    if path in ("/", "/search.json"):
        return path if _searches_long(parameters) else ""
    return path if _has_many_figures(path, parameters) else ""


def _has_many_figures(path: str, parameters: Mapping[str, str]) -> bool:
    """Whether it shows figures of many days."""
    if path in ("/operations", "/errors", "/error", "/runtime"):
        return parameters.get("lookback") in _LONG_LOOKBACKS
    if path in ("/operations.json", "/errors.json", "/map.json"):
        period = period_of(parameters, {})
        return period is not None and period.end - period.start > _LONG
    try:
        if path == "/map":
            return parse_duration(parameters.get("lookback", "").strip() or "24h") > _LONG
        if path in ("/operation", "/service"):
            window = TrendState.read(parameters).window(time.time_ns())
            # It begins and ends with whole hours or days.
            length = window.end - window.start - 2 * window.width
            return length > (_LONG_OF_OPERATION if path == "/operation" else _LONG)
    except ValueError:
        pass
    return False


def _searches_long(parameters: Mapping[str, str]) -> bool:
    """Whether it is a search through days, of all services."""
    try:
        query = SearchForm.read(parameters).query(time.time_ns())
    except FormError:
        return False
    return query.service is None and query.end - query.start > _LONG
