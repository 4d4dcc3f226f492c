"""The pages of errors: which there are, and one of them with examples."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.routing import Route

from causal_otel.collector.error_labels import ErrorLabel, searches
from causal_otel.collector.expressions import quoted, written
from causal_otel.collector.trends import errors as trends
from causal_otel.collector.web.first_steps import otlp_endpoint
from causal_otel.collector.web.forms import LOOKBACKS, SearchForm
from causal_otel.collector.web.partial import partial_result
from causal_otel.collector.web.templating import colours, page
from causal_otel.collector.web.trend_view import TrendView, bars, seen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.collector.query import TraceReader
    from causal_otel.collector.trends.errors import ErrorExample, ErrorGroup

__all__ = ["COLUMNS", "routes"]

_ROWS = 50
_EXAMPLE_SECONDS = 1.0
_SHOWN_OPERATIONS = 3

COLUMNS: dict[str, tuple[str, str]] = {
    "count": ("Spans", "Spans that failed so: an error that passes through several spans counts in each"),
    "requests": ("Requests", "Those of them that begin something in their service: a request, a message, a trace"),
    "total": ("Time", "How long these spans took together"),
    "first": ("First seen", "In this time; UTC"),
    "last": ("Last seen", "UTC"),
}
"""What the table can be sorted by: the column's name, and what it means."""


def routes(reader: TraceReader, status: Callable[[], dict[str, Any]]) -> list[Route]:
    """``/errors`` and ``/error``."""
    pages = _Errors(reader, status)
    # Starlette calls what is not async from threads, where it may wait for the disk.
    return [Route("/errors", pages.errors), Route("/error", pages.error)]


class _Errors:
    def __init__(self, reader: TraceReader, status: Callable[[], dict[str, Any]]) -> None:
        self._reader = reader
        self._status = status

    def errors(self, request: Request) -> Response:
        view = TrendView.read(request, trends.SORTS, "count")
        services = self._reader.services()
        reader = self._reader.bounded()
        found = trends.errors(reader, view.selected, view.period)
        groups = sorted(found.groups, key=trends.SORTS[view.sort], reverse=True)
        rows, pages = view.rows(len(groups), _ROWS)
        context = {
            "view": view,
            "groups": groups[rows],
            "found": found,
            "pages": pages,
            "number": rows.start // _ROWS + 1,
            "examples": self._examples(groups[rows]),
            "columns": COLUMNS,
            "services": services,
            "endpoint": "" if services else otlp_endpoint(request, self._status),
            "shown_operations": _SHOWN_OPERATIONS,
            **self._common(view, services, groups[rows]),
            **partial_result(reader.since, view.period.start),
        }
        return page(request, "errors.html", context)

    def error(self, request: Request) -> Response:
        view = TrendView.read(request, (), "")
        label = ErrorLabel(request.query_params.get("type", ""), request.query_params.get("frame", ""))
        services = self._reader.services()
        reader = self._reader.bounded()
        found = trends.errors(reader, view.selected, view.period)
        group = next((each for each in found.groups if each.label == label), None)
        examples = []
        if group is not None:
            examples = trends.examples(self._reader, group, view.selected, view.period, seconds=_EXAMPLE_SECONDS)
        context = {
            "view": view,
            "label": label,
            "group": group,
            "examples": examples,
            "example": next((each for each in examples if each.span is not None), None),
            "lookback_addresses": {name: _address(view, label, lookback=name) for name in LOOKBACKS},
            **self._common(view, services, [] if group is None else [group]),
            **partial_result(reader.since, view.period.start),
        }
        return page(request, "error_group.html", context, status=200 if group or context["partial"] else 404)

    def _examples(self, groups: Sequence[ErrorGroup]) -> dict[ErrorLabel, ErrorExample]:
        """An example of each, of as many as there is time for."""
        until = time.monotonic() + _EXAMPLE_SECONDS
        found = {}
        for group in groups:
            if time.monotonic() >= until:
                break
            found[group.label] = trends.example(self._reader, group)
        return found

    def _common(self, view: TrendView, services: list[str], groups: Sequence[ErrorGroup]) -> dict[str, Any]:
        shown = [name for group in groups for name, _ in group.services]
        return {
            "lookbacks": LOOKBACKS,
            "colours": colours([*services, *shown]),
            "bars": lambda amounts: bars(amounts, view.period),
            "seen": lambda at: seen(at, view.period),
            "search": lambda group, **more: _search(view, group.label, **more),
            "address": lambda group: _address(view, group.label),
        }


def _address(view: TrendView, label: ErrorLabel, **changes: str) -> str:
    given = {"type": label.type, "frame": label.frame, "service": view.service, "lookback": view.lookback, **changes}
    return f"/error?{urlencode({name: value for name, value in given.items() if value})}"


def _search(view: TrendView, label: ErrorLabel, *, service: str = "", operation: str = "", kind: str = "") -> str:
    """The search for traces with such errors."""
    where = searches(label)[0]
    form = SearchForm(
        service=service or view.service,
        operation=quoted(operation) if operation else "",
        kind=kind,
        tags="" if where is None else written(where),
        errors="1",
        lookback=view.lookback,
    )
    return form.address()
