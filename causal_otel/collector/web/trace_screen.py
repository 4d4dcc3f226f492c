"""What the page of a trace shows in one of its states."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from causal_otel.collector.attributes import KINDS
from causal_otel.collector.web.by_operation import COLUMNS, by_operation
from causal_otel.collector.web.flame import flame
from causal_otel.collector.web.layout import Shown as Asked
from causal_otel.collector.web.layout import lay_out, stops
from causal_otel.collector.web.span_details import LONG, LONGEST, SpanDetails, says_of_linking, span_details
from causal_otel.collector.web.trace_links import TraceLinks
from causal_otel.collector.web.trace_logs import listed, marks
from causal_otel.collector.web.trace_warnings import skews, warnings
from causal_otel.collector.web.waterfall import CHUNK, find_spans, parents, waterfall
from causal_otel.collector.web.why import why
from causal_otel.collector.web.zoom import zoom

if TYPE_CHECKING:
    from collections.abc import Mapping

    from causal_otel.causality.critical_path import Until
    from causal_otel.collector.analysis import SpanView
    from causal_otel.collector.query import LinkingSpan
    from causal_otel.collector.web.layout import Layout
    from causal_otel.collector.web.page_state import PageState
    from causal_otel.collector.web.views import Shown

__all__ = ["EXPLAINED_AT_ONCE", "TraceScreen", "above"]

EXPLAINED_AT_ONCE = 5000
"""Spans of a trace up to which its page waits for the explanation. Of more it comes later: that takes seconds."""


class TraceScreen:
    """The page of a trace in one of its states.

    Args:
        shown: the trace.
        state: the state.
        colours: of the services.
    """

    def __init__(self, shown: Shown, state: PageState, colours: Mapping[str, int]) -> None:
        self._shown, self._colours = shown, colours
        self._skews = skews(shown.view)
        self._explained = shown.explained.corrected if state.corrected and self._skews else shown.explained
        self._view = view = self._explained.view
        self._state = replace(state, open=tuple(each for each in state.open if view.span(each)))

    @cached_property
    def explains(self) -> bool:
        """Whether the page has what can only be told of a trace that is explained."""
        state = self._state
        return self._explained.ready or state.why or bool(state.critical) or len(self._view.spans) <= EXPLAINED_AT_ONCE

    @cached_property
    def hits(self) -> list[SpanView]:
        """The spans that were found."""
        return find_spans(self._view, self._state.find, self._shown.logs) if self._state.find else []

    @cached_property
    def collapsed(self) -> set[str]:
        """The spans that are collapsed."""
        state = self._state
        if not state.collapsed:
            return set()
        found = state.collapsed_among(parents(self._view))
        if state.open:
            found.difference_update(above(self._view.span(state.open[-1])))
        return found

    @cached_property
    def layout(self) -> Layout:
        """The rows of the waterfall."""
        state = self._state
        asked = Asked(self.collapsed, state.open, state.runs, state.narrowing, state.window)
        # A page without the explanation is followed by one with it, and all rows.
        first = not (self.explains or state.collapsed or state.open or state.runs or state.find)
        return lay_out(self._explained, asked, gaps=self.explains, first=first)

    def context(self) -> dict[str, Any]:
        """What the template draws."""
        view, state = self._view, self._state
        path = f"/trace/{view.trace_id}"
        until: Until = state.critical or "answer"
        context: dict[str, Any] = {
            "trace": view,
            "trace_id": view.trace_id,
            "path": path,
            "root": view.root,
            "depth": 1 + max(span.depth for span in view.spans),
            "warnings": warnings(view),
            "skews": self._skews,
            "state": state,
            "to": TraceLinks(self._explained, state, path),
            "colours": self._colours,
            "why": why(self._explained) if self.explains else None,
            "log_count": self._shown.logs.count,
            "goes_on": view.root is not None and view.end > view.root.end,
            "long": LONG,
            "longest": LONGEST,
            "errors": view.errors,
        }
        if state.tab == "flame":
            context["flame"] = flame(view, state.box)
        elif state.tab == "operations":
            context["operations"] = by_operation(self._explained, until, state.sort, ascending=state.ascending)
            context["columns"] = COLUMNS
        elif state.tab == "logs":
            context["logs"] = listed(self._shown.logs, view, state.of)
            context["of"] = view.span(state.of) if state.of else None
        else:
            context |= self._waterfall(path, until)
        return context

    def span_context(self, span_id: str) -> dict[str, Any]:
        """What the template of one span's details draws."""
        path = f"/trace/{self._view.trace_id}"
        return {
            "details": self._details(span_id),
            "path": path,
            "to": TraceLinks(self._explained, self._state, path),
            "trace_id": self._view.trace_id,
            "long": LONG,
            "longest": LONGEST,
        }

    def _waterfall(self, path: str, until: Until) -> dict[str, Any]:
        view, state, layout = self._view, self._state, self.layout
        errors = [span for span in view.spans if span.error] if view.errors else []
        hits = self.hits
        opened = {each: self._details(each) for each in state.open}
        at = _index(self._view.span(state.open[-1]) if state.open else None)
        return {
            "waterfall": waterfall(
                self._explained,
                self._colours,
                layout,
                collapsed=self.collapsed,
                opened=opened,
                hits={span.index for span in hits},
                until=until if self.explains else None,
                window=state.window,
            ),
            "layout": layout,
            "zoom": zoom(view, state, path),
            "marks": marks(self._shown.logs),
            "linking": {
                span_id: says_of_linking(links, cut=not self._shown.linking.complete)
                for span_id, links in self._linking.items()
            },
            "opened": opened,
            "kinds": [
                KINDS[kind] for kind in sorted({span.message.kind for span in view.spans}) if 0 <= kind < len(KINDS)
            ],
            "hits": hits,
            "hit_stops": stops(layout, hits),
            "error_stops": stops(layout, errors),
            "chunk_size": CHUNK,
            "found": _found(hits, at),
            "hit_before": _step(hits, at, -1, state, path),
            "hit_after": _step(hits, at, 1, state, path),
            "error_before": _step(errors, at, -1, state, path),
            "error_after": _step(errors, at, 1, state, path),
        }

    def _details(self, span_id: str) -> SpanDetails:
        span = self._view.span(span_id)
        assert span is not None
        linking = self._linking.get(span_id, ())
        return span_details(self._explained, span, self._colours[span.service], self._shown.logs, linking)

    @cached_property
    def _linking(self) -> dict[str, list[LinkingSpan]]:
        """The spans of other traces that link to each of this one's, by its id."""
        found: dict[str, list[LinkingSpan]] = {}
        for link in self._shown.linking.links:
            found.setdefault(link.linked.hex(), []).append(link)
        return found


def above(span: SpanView | None) -> set[str]:
    """The ids of the spans above one."""
    found: set[str] = set()
    while span is not None and span.parent is not None:
        span = span.parent
        found.add(span.span_id)
    return found


def _index(span: SpanView | None) -> int:
    return span.index if span is not None else -1


def _step(spans: list[SpanView], at: int, step: int, state: PageState, path: str) -> str:
    """The page with the next of ``spans`` open, counted from the index ``at``; going round."""
    if not spans:
        return state.address(path)
    if step > 0:
        chosen = next((span for span in spans if span.index > at), spans[0])
    else:
        chosen = next((span for span in reversed(spans) if span.index < at), spans[-1])
    return replace(state, open=(chosen.span_id,)).address(path)


def _found(hits: list[SpanView], at: int) -> str:
    place = next((number for number, span in enumerate(hits, 1) if span.index == at), None)
    if not hits:
        return "none"
    return f"{place} of {len(hits)}" if place else f"{len(hits)} found"
