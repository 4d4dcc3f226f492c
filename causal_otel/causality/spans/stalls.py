"""Event loops that stood still: who held them, and when, by the records of the loop monitor."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.causality.spans.parts import measured
from causal_otel.causality.spans.targets import named
from causal_otel.names import (
    CAUSAL_BLOCK_CALLBACKS,
    CAUSAL_BLOCK_CPU,
    CAUSAL_BLOCK_FRAME,
    CAUSAL_BLOCK_GC,
    CAUSAL_BLOCK_GIL,
    CAUSAL_BLOCK_STARVED,
    CAUSAL_BLOCK_WAIT,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from causal_otel.causality.spans import CallSpan, Span, Trace

__all__ = ["STALL", "Stall", "Stalls", "is_stall", "shares_of_stall", "stalled_by", "stalls_of"]

STALL = "loop blocked"
"""The name of a span that is one stall of an event loop."""

_COLLECTING, _COMPUTING, _STARVED = "garbage collection", "computing", "no free CPU"

_KEYS = frozenset({CAUSAL_BLOCK_CALLBACKS, CAUSAL_BLOCK_CPU, CAUSAL_BLOCK_FRAME, CAUSAL_BLOCK_WAIT})
"""What most stalls have one of, also those that others have recorded: users may call spans of their own so, too."""

_SCOPE = "causal_otel.event_loop"
"""What records ours. One that was noticed when it was nearly over has none of these keys."""


class Stall(NamedTuple):
    """A time in which an event loop ran one thing without a pause.

    Attributes:
        start: Unix time in nanoseconds.
        end: likewise.
        span: its record.
        trace: the trace that has held up the loop.
    """

    start: int
    end: int
    span: Span
    trace: Trace[Span]


def is_stall(span: CallSpan) -> bool:
    """Whether a span is the record of a stall."""
    if span.kind != "internal" or span.name != STALL:
        return False
    return span.scope.name == _SCOPE or not _KEYS.isdisjoint(span.attributes)


def stalls_of(trace: Trace[Span]) -> list[Stall]:
    """The stalls that a trace has caused."""
    return [Stall(span.start, span.end, span, trace) for span in trace.spans if is_stall(span)]


def stalled_by(span: Span) -> str:
    """Whose code held the event loop, and with what: ``report.py:31 render() (computing)``."""
    frame, callbacks = span.attributes.get(CAUSAL_BLOCK_FRAME), span.attributes.get(CAUSAL_BLOCK_CALLBACKS)
    if not frame and isinstance(callbacks, int) and callbacks > 1:
        frame = f"{callbacks} callbacks, none of them long"
    what = _reason(span)
    return f"{named(str(frame or 'unknown code'))}{f' ({what})' if what else ''}"


def shares_of_stall(span: Span) -> dict[str, int]:
    """What the thread did during a stall, in nanoseconds, longest first; empty: that is not known."""
    collecting = measured(span.attributes, CAUSAL_BLOCK_GC)
    shares = {
        _COLLECTING: collecting,
        _COMPUTING: measured(span.attributes, CAUSAL_BLOCK_CPU) - collecting,
        "waiting for the GIL": measured(span.attributes, CAUSAL_BLOCK_GIL),
        _STARVED: measured(span.attributes, CAUSAL_BLOCK_STARVED),
        "a blocking call": measured(span.attributes, CAUSAL_BLOCK_WAIT),
    }
    longest = sorted(shares, key=lambda each: -shares[each])  # of two that are as long, the first one named
    return {each: shares[each] for each in longest if shares[each] > 0}


def _reason(span: Span) -> str:
    """What the thread mostly did during a stall; empty: that is not known."""
    shares = shares_of_stall(span)
    longest = next(iter(shares), "")
    computed = next((each for each in shares if each in (_COLLECTING, _COMPUTING)), "")
    if longest == _STARVED and computed:
        return f"{computed}, {longest}"  # what it did when it could
    return longest


class Stalls:
    """The stalls of one process, which are looked up by time. Where two overlap, in two loops, the first counts."""

    def __init__(self, found: Iterable[Stall]) -> None:
        self._stalls: list[Stall] = []
        until = 0
        for stall in sorted(found, key=lambda each: (each.start, -each.end, each.trace.trace_id, each.span.span_id)):
            if stall.end > until:
                self._stalls.append(stall._replace(start=max(stall.start, until)))
                until = stall.end
        self._starts = [stall.start for stall in self._stalls]
        self._ends = [stall.end for stall in self._stalls]
        self._spent = [0, *accumulate(stall.end - stall.start for stall in self._stalls)]

    def within(self, start: int, end: int) -> Iterator[tuple[int, int, Stall]]:
        """The stretches between two moments in which the loop stood still, in order."""
        for place in range(*self._places(start, end)):
            stall = self._stalls[place]
            yield max(start, stall.start), min(end, stall.end), stall

    def between(self, start: int, end: int) -> int:
        """Nanoseconds of those stretches together."""
        first, behind = self._places(start, end)
        if first >= behind:
            return 0
        cut = max(0, start - self._starts[first]) + max(0, self._ends[behind - 1] - end)
        return self._spent[behind] - self._spent[first] - cut

    def _places(self, start: int, end: int) -> tuple[int, int]:
        """The first one that is not over by ``start``, and the first that begins at ``end`` or later."""
        return bisect_right(self._ends, start), bisect_left(self._starts, end)
