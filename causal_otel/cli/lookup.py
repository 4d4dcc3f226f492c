"""Which trace a command is about: one with an id, the slowest of an operation, or the last that has failed."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from causal_otel.cli.stored import CommandError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.causality.explanation import Call
    from causal_otel.cli.source import Source
    from causal_otel.collector.analysis import SpanView, TraceView
    from causal_otel.collector.query import Query

__all__ = ["SEARCH_SECONDS", "beside", "by_id", "calls", "matching", "missing", "newest", "parse_trace_id", "slowest"]

SEARCH_SECONDS = 10.0
"""How long one search may take."""

_ID = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")
_AT_ONCE = 20
_ROUNDS = 20
_MOST_TRACES, _MOST_SPANS, _MOST_OF_A_TRACE = 300, 200_000, 20


def parse_trace_id(written: str) -> bytes:
    """A trace's id from its 32 hexadecimal digits, or 16 of a 64-bit id.

    Raises:
        UsageError: It is none.
    """
    text = written.strip().lower()
    if not _ID.fullmatch(text):
        raise UsageError(f"{written[:80]!r} is no trace id, which has 32 hexadecimal digits")
    return bytes.fromhex(text.rjust(32, "0"))


def missing(trace_id: bytes) -> CommandError:
    """The complaint that there is no such trace."""
    return CommandError(f"there is no trace {trace_id.hex()}: it was not received (yet), or is no longer kept")


def by_id(source: Source, trace_id: bytes) -> TraceView:
    """The trace with an id.

    Raises:
        CommandError: There is none.
    """
    from causal_otel.collector.analysis import build

    found = source.trace(trace_id)
    if found is None:
        raise missing(trace_id)
    return build(found)


def beside(source: Source, view: TraceView) -> list[TraceView]:
    """Traces of the same time that help to explain one; none if they cannot be asked for, which is said."""
    from causal_otel.collector.analysis.neighbours import traces_beside

    try:
        return traces_beside(source, view)
    except CommandError as error:  # the trace itself is there
        print(f"Other traces of that time could not be asked for: {error}", file=sys.stderr)
        return []


def slowest(source: Source, query: Query) -> tuple[TraceView, SpanView] | None:
    """The longest of all spans that satisfy the query, with its trace; None: there is none.

    Searches go by time, so it is looked for in rounds: of some that took longer than the longest so far, the longest.
    """
    from causal_otel.collector.analysis import build

    best: tuple[TraceView, SpanView] | None = None
    narrowed = replace(query, limit=_AT_ONCE, sort="newest")
    for _ in range(_ROUNDS):
        longer: tuple[TraceView, SpanView] | None = None
        for trace_id in source.search(narrowed, seconds=SEARCH_SECONDS).trace_ids:
            message = source.trace(trace_id)
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


def newest(source: Source, query: Query) -> tuple[TraceView, SpanView] | None:
    """The last of the spans that satisfy the query, with its trace; None: there is none."""
    from causal_otel.collector.analysis import build

    for trace_id in source.search(replace(query, limit=1, sort="newest"), seconds=SEARCH_SECONDS).trace_ids:
        message = source.trace(trace_id)
        view = None if message is None else build(message)
        spans = [] if view is None else list(matching(view, query))
        if view is not None and spans:
            return view, max(spans, key=lambda span: (span.start, -span.index))
    return None


def calls(source: Source, query: Query) -> dict[tuple[str, str], list[Call]]:
    """The newest calls of the operations that satisfy the query, by service and name, as far as they are looked at."""
    from causal_otel.causality.explanation import call_of
    from causal_otel.collector.analysis import build

    found: dict[tuple[str, str], list[Call]] = {}
    left = _MOST_SPANS
    for trace_id in source.search(replace(query, limit=_MOST_TRACES, sort="newest"), seconds=SEARCH_SECONDS).trace_ids:
        message = source.trace(trace_id)
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
    from causal_otel.collector.conditions import is_like

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
