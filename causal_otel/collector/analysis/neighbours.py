"""The traces beside one: those that may have held what it waited for."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Protocol

from causal_otel.causality.explanation.neighbours import Wanted, neighbours
from causal_otel.collector.query import Query
from causal_otel.collector.trace_tree import build

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    from causal_otel.collector.query import Found
    from causal_otel.collector.view import TraceView

__all__ = ["Searched", "traces_beside"]

_SECONDS = 2.0
_MOST_TRACES = 30
_MOST_SPANS = 20_000


class Searched(Protocol):
    """What traces are looked up in: part of :class:`~causal_otel.collector.query.TraceReader`."""

    def search(self, query: Query, *, seconds: float = ...) -> Found:
        """Find traces."""

    def trace(self, trace_id: bytes) -> TracesData | None:
        """All spans of a trace; None if there is none."""


def traces_beside(
    searched: Searched,
    view: TraceView,
    *,
    seconds: float = _SECONDS,
    within: float = math.inf,
    most_spans: int = _MOST_SPANS,
    span_count: Callable[[Sequence[bytes]], int] | None = None,
) -> list[TraceView]:
    """Other traces that help to explain one, a few at the most. If nothing calls for any, nothing is searched.

    Args:
        searched: what they are looked up in.
        view: the trace.
        seconds: how long one search may take.
        within: how many seconds all searches may take together, the last one aside.
        most_spans: how many these traces may have together.
        span_count: tells how many spans a trace has before it is read, so that one with too many is not.
    """
    wanted = neighbours(view)
    ids = dict.fromkeys(bytes.fromhex(each) for each in wanted.trace_ids)
    until = time.monotonic() + within
    for spans in wanted.spans:
        if time.monotonic() > until:
            break
        ids |= dict.fromkeys(searched.search(_query(spans), seconds=seconds).trace_ids)
    ids.pop(bytes.fromhex(view.trace_id or "00"), None)
    found: list[TraceView] = []
    left = most_spans
    for trace_id in list(ids)[:_MOST_TRACES]:
        if span_count is not None and span_count([trace_id]) > left:
            continue
        if (message := searched.trace(trace_id)) is not None:
            other = build(message)
            left -= len(other.spans)
            if left < 0:
                break
            found.append(other)
    return found


def _query(wanted: Wanted) -> Query:
    return Query(
        start=max(0, wanted.start),
        end=wanted.end,
        service=wanted.service,
        operation=wanted.operation,
        kind=wanted.kind,
        system=wanted.system,
        shortest=wanted.shortest,
        limit=_MOST_TRACES,
    )
