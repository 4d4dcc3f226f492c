"""The page that tells what is different in a box of a heat map."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.routing import Route

from causal_otel.collector.different import SAMPLED, differences
from causal_otel.collector.expressions import Not, written
from causal_otel.collector.web.box import BOUNDS, Box, narrowed
from causal_otel.collector.web.forms import FormError, SearchForm
from causal_otel.collector.web.templating import page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from causal_otel.collector.different import Difference, Differences
    from causal_otel.collector.reading import Reading

__all__ = ["routes"]

_SECONDS = 1.0
_OR = re.compile(r"\bor\b|\|", re.IGNORECASE)


def routes(reading: Reading) -> list[Route]:
    """``/different``."""
    return [Route("/different", _DifferentPage(reading).different)]


class _Row(NamedTuple):
    """A difference, and the searches in the box for what has it and for what has not."""

    told: Difference
    search: str
    exclude: str


class _DifferentPage:
    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    async def different(self, request: Request) -> Response:
        # A second of Python: one after the other.
        return await self._reading.run(lambda: self._page(request), large=True)

    def _page(self, request: Request) -> Response:
        form, box = SearchForm.read(request.query_params), Box.read(request.query_params)
        now = time.time_ns()
        mistakes: dict[str, str] = {}
        found: Differences | None = None
        inner = form
        context: dict[str, Any] = {}
        try:
            whole = form.query(now)
            inner = _inner(form, box)
            part = inner.query(now)
            found = differences(self._reading.reader, part, whole, seconds=_SECONDS)
            context = {"part": part, "whole": whole}
        except FormError as error:
            mistakes = dict(error.fields)
        context |= {
            "mistakes": mistakes,
            "found": found,
            "rows": [_row(each, inner) for each in found.rows] if found else [],
            "inner": inner.address(),
            "outer": form.address(),
            "sampled": SAMPLED,
            "seconds": _SECONDS,
            "bounded": any(getattr(box, name) for name in BOUNDS[3:]),
        }
        return page(request, "different.html", context, status=400 if mistakes else 200)


def _inner(form: SearchForm, box: Box) -> SearchForm:
    """The search in the box; where this is no limit of the time, over the whole of it."""
    if box.start or box.end:
        return replace(narrowed(form, roots=False), **box.fields())
    return replace(form, shortest=box.shortest, longest=box.longest, after="", before="")


def _row(told: Difference, inner: SearchForm) -> _Row:
    q = f"({inner.q})" if _OR.search(inner.q) else inner.q
    both = (f"{q} {written(each)}".strip() for each in (told.condition, Not(told.condition)))
    return _Row(told, *(inner.address(q=each) for each in both))
