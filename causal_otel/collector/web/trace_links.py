"""Where the links of a trace's page lead: to the same page in another state."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from causal_otel.collector.web.narrowing import NO_SYSTEM, Narrowing
from causal_otel.collector.web.value_links import value_links
from causal_otel.collector.web.zoom import around

if TYPE_CHECKING:
    from collections.abc import Iterable

    from causal_otel.collector.analysis import Explained, SpanView
    from causal_otel.collector.analysis.runs import Run
    from causal_otel.collector.web.flame import Merged
    from causal_otel.collector.web.layout import More
    from causal_otel.collector.web.page_state import PageState, Tab

__all__ = ["TraceLinks"]

_LONG_COLLAPSED = 20


class TraceLinks:
    """The addresses of a page's links without JavaScript.

    Args:
        explained: the trace.
        state: the page's.
        path: the trace's.
    """

    value = staticmethod(value_links)

    def __init__(self, explained: Explained, state: PageState, path: str) -> None:
        self._explained, self._view, self._state, self._path = explained, explained.view, state, path
        self._opened = set(state.open)

    def tab(self, tab: Tab) -> str:
        """Another view of the trace."""
        return self._state.on(tab).address(self._path)

    def row(self, span_id: str) -> str:
        """The details of a span open, or closed if they are. It is relative and short: there are thousands of them."""
        if span_id in self._opened:
            return self._state.closed(span_id).query()
        return f"{self._to_spans}{span_id}#s-{span_id}"

    def span(self, span_id: str) -> str:
        """The waterfall with a span in it open, and no other."""
        return replace(self._state, open=(span_id,), tab="").address(self._path)

    def run(self, run: Run, *, expanded: bool) -> str:
        """A run open, or closed if it is."""
        state = self._state
        state = self._without(run) if expanded else replace(state, runs=(*state.runs, run.first.span_id))
        return f"{state.query()}#r-{run.first.span_id}"

    def more(self, more: More) -> str:
        """Other members of an open run in the place of those that are shown."""
        state = self._without(more.run)
        return f"{replace(state, runs=(*state.runs, more.target.span_id)).query()}#r-{more.run.first.span_id}"

    def hide(self, *, service: str = "", kind: str = "") -> str:
        """A service or a kind hidden, or shown if it is hidden."""
        narrowing = self._state.narrowing.switched(service=service, kind=kind)
        return replace(self._state, narrowing=narrowing).address(self._path)

    @property
    def everything(self) -> str:
        """Nothing hidden."""
        return replace(self._state, narrowing=Narrowing()).address(self._path)

    def zoom_to(self, span: SpanView) -> str:
        """The window of a span."""
        return replace(self._state, window=around(self._view, span), open=(span.span_id,), tab="").address(self._path)

    def operation(self, span: SpanView) -> str:
        """The waterfall with nothing but the spans of an operation."""
        only = (
            ("service", span.service),
            ("operation", span.name),
            ("kind", span.kind),
            ("system", span.system or NO_SYSTEM),
        )
        state = replace(
            self._state, tab="", narrowing=Narrowing(only=only), runs=(span.span_id,), open=(), window=None, find=""
        )
        return state.address(self._path)

    def sorted(self, column: str) -> str:
        """The operations sorted by a column, or the other way round if they are."""
        state = self._state
        return replace(state, sort=column, ascending=state.sort == column and not state.ascending).address(self._path)

    def box(self, what: Merged | None) -> str:
        """The flame chart with a box as wide as it; None: all of it."""
        return replace(self._state, tab="flame", box="" if what is None else what.name).address(self._path)

    def logs_of(self, span_id: str) -> str:
        """The log records of a span; empty: all."""
        return replace(self._state, tab="logs", of=span_id).address(self._path)

    @property
    def explained(self) -> str:
        """The page with the explanation, however long it takes."""
        return replace(self._state, why=True).address(self._path)

    @property
    def clocks(self) -> str:
        """Clocks corrected, or not if they are."""
        return replace(self._state, corrected=not self._state.corrected).address(self._path)

    @cached_property
    def _to_spans(self) -> str:
        state = self._state
        if len(state.collapsed) > _LONG_COLLAPSED:
            state = replace(state, collapsed=())
        prefix = replace(state, open=()).query()
        prefix += "span=" if prefix == "?" else "&span="
        return prefix + "".join(f"{each}," for each in state.open)

    def _without(self, run: Run) -> PageState:
        """The state in which nothing opens the run."""
        members = set(run.members)

        def inside(span_id: str) -> bool:
            return any(span.index in members for span in self._way(span_id))

        return replace(
            self._state,
            runs=tuple(each for each in self._state.runs if not inside(each)),
            open=tuple(each for each in self._state.open if not inside(each)),
        )

    def _way(self, span_id: str) -> Iterable[SpanView]:
        """A span and those above it."""
        span = self._view.span(span_id)
        while span is not None:
            yield span
            span = span.parent
