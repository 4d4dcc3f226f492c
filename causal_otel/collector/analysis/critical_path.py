"""What a span's end-to-end time consists of: the spans that it was waiting for, back from its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from causal_otel.collector.analysis.view import SpanView, TraceView

__all__ = ["Segment", "critical_path", "time_on_path"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A time in which ``span`` itself held up the end; Unix nanoseconds."""

    span: SpanView
    start: int
    end: int

    @property
    def duration(self) -> int:
        """Nanoseconds from start to end, at least 1."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class _Window:
    """A span's part of the path, still to be divided among it and its children."""

    span: SpanView
    start: int
    end: int


def critical_path(trace: TraceView, root: SpanView | None = None) -> list[Segment]:
    """The segments that make up the time of ``root``, in order: each of its nanoseconds is in exactly one.

    Seen from a span's end, the child that ended last held it up; before that child's start, the one that had ended
    last by then; and so on, in each child likewise. What is left is the span's own.

    A child that goes on after its parent was not waited for, nor was a detached one: neither is on the path. The
    server's side of a call is, until the client's end, since servers often end a little after their answer is read.

    Args:
        trace: the trace.
        root: whose time to explain; default: the trace's root.
    """
    top = root or trace.root
    segments: list[Segment] = []
    left: list[_Window | Segment] = [] if top is None else [_Window(top, top.start, top.end)]
    while left:
        item = left.pop()
        if isinstance(item, Segment):
            segments.append(item)
        else:
            left.extend(_divided(item))
    return segments


def time_on_path(segments: Iterable[Segment]) -> dict[int, int]:
    """Nanoseconds that each span holds up the end, by its ``index``; those on the path only."""
    times: Counter[int] = Counter()
    for segment in segments:
        times[segment.span.index] += segment.duration
    return dict(times)


def _divided(window: _Window) -> list[_Window | Segment]:
    """What ``window`` consists of, last first."""
    windows = []
    for child in window.span.children:
        if _waited_for(child, window.span):
            start, end = max(child.start, window.start), min(child.end, window.end)
            if start < end:
                windows.append(_Window(child, start, end))
    windows.sort(key=lambda each: (-each.end, each.start))
    parts: list[_Window | Segment] = []
    until = window.end
    for inner in windows:
        if inner.end > until:
            continue
        if inner.end < until:
            parts.append(Segment(window.span, inner.end, until))
        parts.append(inner)
        until = inner.start
    if window.start < until:
        parts.append(Segment(window.span, window.start, until))
    return parts


def _waited_for(child: SpanView, parent: SpanView) -> bool:
    return not child.detached and (child.end <= parent.end or (child.kind == "server" and parent.kind == "client"))
