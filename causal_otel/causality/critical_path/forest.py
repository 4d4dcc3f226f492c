"""The spans of one or more traces as lists of numbers, which the other modules of this package work on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic

from causal_otel.causality.spans import SpanT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from causal_otel.causality.spans import Trace

__all__ = ["NOBODY", "Forest", "forest"]

NOBODY = -1
"""Where the number of a span stands, and there is none."""


@dataclass(slots=True)
class Forest(Generic[SpanT]):
    """All spans of some traces, numbered one trace after the other, each before all that is below it.

    Every list has an entry for each span. Times are those of one clock, so ``skew`` is in them.

    Attributes:
        spans: the spans.
        above: the span's parent, or :data:`NOBODY`.
        parent: the same without what is ``hidden`` between.
        start: when it starts, never before its parent: what lies before that is a clock's fault.
        end: when it ends, never before its start.
        over: when it and all below it have ended.
        last: the last span below it, or itself: so all below it are those between.
        hidden: whether it is on no path: it has no time, or is no work. What is below it is taken for its parent's.
        first: the number of each trace's first span.
        begins: when the first span of each trace starts, also one that starts before its parent.
        ends: when the last one of each trace ends.
    """

    spans: list[SpanT] = field(default_factory=list)
    above: list[int] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    over: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    hidden: list[bool] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def is_above(self, span: int, other: int) -> bool:
        """Whether ``span`` is ``other`` or above it."""
        return span <= other <= self.last[span]


def forest(traces: Sequence[Trace[SpanT]]) -> Forest[SpanT]:
    """The spans of ``traces``, in their order. A parent that does not stand before its child is none."""
    found: Forest[SpanT] = Forest()
    for trace in traces:
        _add(found, trace)
    found.over = found.end.copy()
    found.last = list(range(len(found.spans)))
    for index in range(len(found.spans) - 1, -1, -1):  # children before their parents
        above, parent = found.above[index], found.parent[index]
        if above != NOBODY:
            found.last[above] = max(found.last[above], found.last[index])
        if parent != NOBODY and not found.hidden[index]:
            found.over[parent] = max(found.over[parent], found.over[index])
    return found


def _add(found: Forest[SpanT], trace: Trace[SpanT]) -> None:
    first = len(found.spans)
    begins: int | None = None
    ends = 0
    for place, span in enumerate(trace.spans):
        above = NOBODY if span.parent is None or span.parent.index >= place else first + span.parent.index
        parent = found.parent[above] if above != NOBODY and found.hidden[above] else above
        hidden = span.untimed or (span.open_only and above != NOBODY)
        start = span.start + span.skew
        end = max(start, span.end + span.skew)
        if not hidden:
            begins, ends = start if begins is None else min(begins, start), max(ends, end)
        if parent != NOBODY:
            start = max(start, found.start[parent])
        found.spans.append(span)
        found.above.append(above)
        found.parent.append(parent)
        found.start.append(start)
        found.end.append(max(start, end))
        found.hidden.append(hidden)
    found.first.append(first)
    found.begins.append(begins or 0)
    found.ends.append(ends)
