"""Moving through the time of a trace by links: nearer, farther, earlier, later."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from causal_otel.collector.units import format_duration
from causal_otel.collector.web.narrowing import Window

if TYPE_CHECKING:
    from causal_otel.collector.analysis import SpanView, TraceView
    from causal_otel.collector.web.page_state import PageState

__all__ = ["Zoom", "around", "zoom"]

_LEAST = 1000
"""Nanoseconds that a window has at least, if the trace has so many."""


@dataclass(frozen=True, slots=True)
class Zoom:
    """What the page says of its window, and where its links lead; an empty one leads nowhere.

    Attributes:
        start: where the window begins, in nanoseconds from the trace's start.
        end: where it ends, likewise.
        length: of the whole trace.
        says: the window in words; empty: it is all of the trace.
        x: where it begins, in thousandths of the trace.
        width: of it, likewise.
    """

    start: int
    end: int
    length: int
    says: str
    x: int
    width: int
    nearer: str
    farther: str
    earlier: str
    later: str
    all: str


def zoom(trace: TraceView, state: PageState, path: str) -> Zoom:
    """The window of a page, and the ways from there."""
    length = max(1, trace.duration)
    window = state.window or Window(0, length)
    start, end = window.start, window.end
    middle, half = (start + end) // 2, window.length // 2
    step = max(1, half)

    def to(begin: int, until: int) -> str:
        begin, until = max(0, begin), min(length, until)
        whole = begin <= 0 and until >= length
        if begin >= until or (state.window is None and whole):
            return ""
        return replace(state, window=None if whole else Window(begin, until)).address(path)

    return Zoom(
        start=start,
        end=end,
        length=length,
        says="" if state.window is None else f"{format_duration(start)} to {format_duration(end)}",
        x=min(1000, round(1000 * start / length)),
        width=max(2, min(1000, round(1000 * window.length / length))),
        nearer=to(middle - half // 2, middle + half // 2) if window.length >= 2 * _LEAST else "",
        farther=to(middle - 2 * half, middle + 2 * half) if state.window is not None else "",
        earlier=to(max(0, start - step), max(0, start - step) + window.length) if start > 0 else "",
        later=to(min(length, end + step) - window.length, min(length, end + step)) if end < length else "",
        all=replace(state, window=None).address(path) if state.window is not None else "",
    )


def around(trace: TraceView, span: SpanView) -> Window:
    """The window of a span, with a little room on both sides."""
    room = max(span.duration // 20, _LEAST)
    start = max(0, span.start - trace.start - room)
    return Window(start, max(start + 1, min(max(1, trace.duration), span.end - trace.start + room)))
