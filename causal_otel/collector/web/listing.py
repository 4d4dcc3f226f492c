"""A page of the list of traces that a search has found: which part of it, of how many, and the ways to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from causal_otel.collector.query import Counted
from causal_otel.collector.web.forms import Place
from causal_otel.collector.web.templating import count as with_spaces

if TYPE_CHECKING:
    from causal_otel.collector.query import Found, Query, TraceReader
    from causal_otel.collector.web.forms import SearchForm

__all__ = ["Listed", "listing", "total"]

_NONE = Counted(0)
_COUNT_SECONDS = 0.06
"""How long a page may be held up for the count. Its script asks for a better one if that did not suffice."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What a page shows of all traces found.

    Attributes:
        form: what was asked for; on the first page without a place.
        found: the traces.
        shown: how many come before them.
        counted: how many there are.
    """

    form: SearchForm
    found: Found
    shown: int = 0
    counted: Counted = _NONE

    @property
    def heading(self) -> str:
        """Which ones are shown: ``20``, ``21-40``."""
        here = len(self.found.trace_ids)
        first = with_spaces(self.shown + 1)
        return f"{first}\u2013{with_spaces(self.shown + here)}" if self.shown else with_spaces(here)

    @property
    def are_all(self) -> bool:
        """Whether there are no others."""
        return self.counted.complete and self.counted.traces <= len(self.found.trace_ids) and not self.shown

    @property
    def next(self) -> str:
        """The address of the next page; empty: there is none."""
        here = self.shown + len(self.found.trace_ids)
        last = self.found.last
        if last is None or (self.counted.complete and self.counted.traces <= here):
            return ""
        if len(self.found.trace_ids) < int(self.form.limit) and self.found.complete and not self.form.before:
            return ""
        return self.form.address(after=str(Place(here, last)))

    @property
    def previous(self) -> str:
        """The address of the page before; empty: there is none."""
        first = self.found.first
        if not (self.form.after or self.form.before):
            return ""
        return self.form.address() if first is None else self.form.address(before=str(Place(self.shown, first)))


def listing(reader: TraceReader, form: SearchForm, query: Query) -> Listed:
    """Search for a page of traces, and count all.

    Args:
        reader: where to search.
        form: what for.
        query: the same as a query.
    """
    found = reader.search(query)
    here = len(found.trace_ids)
    if query.before is not None and here < query.limit and found.complete:
        # That is the beginning of the list.
        form, query = replace(form, before=""), replace(query, before=None)
        found = reader.search(query)
        here = len(found.trace_ids)
    after, before = Place.read(form.after), Place.read(form.before)
    shown = after.shown if after is not None else max(0, before.shown - here) if before is not None else 0
    if after is None and before is None and found.complete and here < query.limit:
        return Listed(form, found, 0, Counted(here))
    counted = reader.count(query, seconds=_COUNT_SECONDS)
    least = shown + here
    if counted.traces < least:
        # Some may have been removed since the page before was shown; those here have been seen.
        counted = Counted(least, counted.complete)
    return Listed(form, found, shown, counted)


def total(counted: Counted) -> str:
    """How many there are, in words."""
    number = with_spaces(counted.traces)
    return number if counted.complete else f"more than {number}"
