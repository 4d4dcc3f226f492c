"""Which spans a question is about: the slowest of an operation, the last that has failed, or all of its calls."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from causal_otel.causality.explanation import call_of
from causal_otel.collector.conditions import is_like
from causal_otel.collector.trace_tree import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from causal_otel.causality.explanation import Call
    from causal_otel.collector.analysis.neighbours import Searched
    from causal_otel.collector.query import Query
    from causal_otel.collector.view import SpanView, TraceView

__all__ = ["calls", "matching", "newest", "slowest"]

_SECONDS = 10.0
"""How long one search may take."""

_AT_ONCE = 20
_ROUNDS = 20
_MOST_TRACES, _MOST_SPANS, _MOST_OF_A_TRACE = 300, 200_000, 20


def _nothing() -> None:
    pass


def slowest(
    searched: Searched, query: Query, *, incomplete: Callable[[], object] = _nothing
) -> tuple[TraceView, SpanView] | None:
    """The longest of all spans that satisfy the query, with its trace; None: there is none.

    Searches go by time, so it is looked for in rounds: of some that took longer than the longest so far, the longest.

    Args:
        searched: what is searched.
        query: what for.
        incomplete: called for each search that had no time to see all.
    """
    best: tuple[TraceView, SpanView] | None = None
    narrowed = replace(query, limit=_AT_ONCE, sort="newest")
    for _ in range(_ROUNDS):
        longer: tuple[TraceView, SpanView] | None = None
        for trace_id in _search(searched, narrowed, incomplete):
            message = searched.trace(trace_id)
            if message is None:  # its day was removed just now
                continue
            view = build(message)
            for span in matching(view, narrowed):
                if longer is None or span.duration > longer[1].duration:
                    longer = view, span
        if longer is None:
            break
        best = longer
        narrowed = replace(narrowed, shortest=longer[1].duration + 1)
    return best


def newest(
    searched: Searched, query: Query, *, incomplete: Callable[[], object] = _nothing
) -> tuple[TraceView, SpanView] | None:
    """The last of the spans that satisfy the query, with its trace; None: there is none."""
    for trace_id in _search(searched, replace(query, limit=1, sort="newest"), incomplete):
        message = searched.trace(trace_id)
        view = None if message is None else build(message)
        spans = [] if view is None else list(matching(view, query))
        if view is not None and spans:
            return view, max(spans, key=lambda span: (span.start, -span.index))
    return None


def calls(
    searched: Searched, query: Query, *, most: int = _MOST_TRACES, incomplete: Callable[[], object] = _nothing
) -> dict[tuple[str, str], list[Call]]:
    """The newest calls of the operations that satisfy the query, by service and name, as far as they are looked at."""
    found: dict[tuple[str, str], list[Call]] = {}
    left = _MOST_SPANS
    for trace_id in _search(searched, replace(query, limit=most, sort="newest"), incomplete):
        message = searched.trace(trace_id)
        if message is None:
            continue
        view = build(message)
        for span in islice(matching(view, query), _MOST_OF_A_TRACE):
            found.setdefault((span.service, span.name), []).append(call_of(view, span))
        left -= len(view.spans)
        if left < 0:
            break
    return found


def matching(view: TraceView, query: Query) -> Iterator[SpanView]:
    """The spans of a trace that satisfy what a query says of time, service, operation, duration and errors."""
    for span in view.spans:
        if (
            query.start <= span.start <= query.end
            and query.service in (None, span.service)
            and query.operation in (None, span.name)
            and (query.operation_like is None or is_like(query.operation_like, span.name))
            and (query.shortest or 0) <= span.duration
            and (span.error or not query.errors)
        ):
            yield span


def _search(searched: Searched, query: Query, incomplete: Callable[[], object]) -> tuple[bytes, ...]:
    found = searched.search(query, seconds=_SECONDS)
    if not found.complete:
        incomplete()
    return found.trace_ids
