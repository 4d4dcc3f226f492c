"""Searches that are narrowed down to a box of a heat map, and the ways out of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from causal_otel.collector.units import written_duration, written_moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from causal_otel.collector.query import Query
    from causal_otel.collector.web.forms import SearchForm

__all__ = ["BOUNDS", "Box", "box_address", "different_address", "is_narrowed", "narrowed", "outer_form"]

BOUNDS = ("lookback", "start", "end", "shortest", "longest")
"""The fields of the form that a box sets, and those that it replaces."""
_LONGEST = 400
"""Characters that say what a search was narrowed down from."""
_WIDER = 3
"""If that is not known, so many times as long is the time that zooming out shows."""


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a heat map as the form's fields say it; an empty one is no limit."""

    start: str
    end: str
    shortest: str = ""
    longest: str = ""

    @classmethod
    def of(cls, start: int, end: int, shortest: int, longest: int | None) -> Box:
        """The box from the first to the last of these, Unix time and nanoseconds."""
        return cls(
            written_moment(start),
            written_moment(end),
            written_duration(shortest) if shortest else "",
            "" if longest is None else written_duration(longest),
        )

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> Box:
        """The one that an address says, as :func:`different_address` writes it."""
        return cls(*(parameters.get(f"box.{name}", "").strip() for name in BOUNDS[1:]))

    def fields(self) -> dict[str, str]:
        """The form's fields that it sets."""
        return {"start": self.start, "end": self.end, "shortest": self.shortest, "longest": self.longest}


def narrowed(form: SearchForm, *, roots: bool) -> SearchForm:
    """The form without a time and durations, for a search to which those of a box are added.

    Args:
        form: the search that the map is of.
        roots: whether its map counts only spans without a parent, as it asks for nothing else.
    """
    outer = urlencode({name: value for name in BOUNDS if (value := getattr(form, name))})
    if form.start or form.end:
        outer = urlencode({name: value for name in BOUNDS[1:] if (value := getattr(form, name))})
    q = f"{form.q} root=true".strip() if roots else form.q
    return replace(form, **dict.fromkeys(BOUNDS[1:], ""), lookback="1h", outer=outer, q=q, after="", before="")


def is_narrowed(form: SearchForm) -> bool:
    """Whether a form has a box."""
    return bool(form.start and form.end)


def outer_form(form: SearchForm, query: Query, now: int) -> SearchForm:
    """What a search was narrowed down from: zooming out shows it. If that is not known, a wider time, any duration.

    Args:
        form: the search.
        query: the same as a query.
        now: Unix time in nanoseconds.
    """
    bare = replace(form, **dict.fromkeys((*BOUNDS[1:], "outer", "after", "before"), ""), lookback="1h")
    if form.outer and len(form.outer) <= _LONGEST:
        given = {name: value for name, value in parse_qsl(form.outer) if name in BOUNDS}
        return replace(bare, **given)
    more = (query.end - query.start) * (_WIDER - 1) // 2
    start, end = max(0, query.start - more), max(query.end, min(query.end + more, now))
    return replace(bare, start=written_moment(start), end=written_moment(end))


def different_address(form: SearchForm, query: Query, now: int) -> str:
    """The page that tells what is different in the box that a search was narrowed down to; see :func:`outer_form`."""
    box = Box(**{name: getattr(form, name) for name in BOUNDS[1:]})
    return box_address(outer_form(form, query, now), box)


def box_address(form: SearchForm, box: Box) -> str:
    """The page that tells what is different in a box of what a search finds."""
    given = {f"box.{name}": value for name, value in box.fields().items() if value}
    rest = form.address().removeprefix("/").removeprefix("?")
    return f"/different?{rest}{'&' if rest else ''}{urlencode(given)}"
