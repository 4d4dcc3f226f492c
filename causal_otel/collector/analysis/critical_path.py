"""The critical path: the spans that the end of a trace waited for, found from the end backwards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from causal_otel.collector.analysis.view import SpanView, TraceView

__all__ = ["Segment", "Until", "critical_path", "time_on_path"]

Until = Literal["answer", "end"]
"""What is waited for: the end of the root, which is when a request is answered, or the end of all work in the trace."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A time, in Unix nanoseconds, in which ``span`` itself held up the end; if ``waiting``, by not having started."""

    span: SpanView
    start: int
    end: int
    waiting: bool = False

    @property
    def duration(self) -> int:
        """Nanoseconds from start to end, at least 1."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class _Window:
    """A time that is still to be divided between a span and its children; without a span, among ``children`` alone.

    ``following`` is the span on the path that begins at its end.
    """

    span: SpanView | None
    children: Sequence[SpanView]
    start: int
    end: int
    following: SpanView | None = None


def critical_path(trace: TraceView, root: SpanView | None = None, until: Until = "answer") -> list[Segment]:
    """The segments that make up the time of ``root`` or of the trace, in order: each nanosecond is in exactly one.

    Seen from the end, the child that ended last held it up; before that child's start, the one that had ended last by
    then; and so on, in each child likewise. What is left is the span's own.

    Until the answer, a child that goes on after its parent was not waited for, nor was a detached one: neither is on
    the path. The server's side of a call is, until the client's end, since servers often end a little after their
    answer is read. Until the end, all of them are, as are those that began sooner and ran beside what is on the path;
    where nothing runs, as between a message's sending and its being worked on, the next span's start is waited for.

    Args:
        trace: the trace.
        root: whose time to explain, until its end; default: the trace's root, or until the end the whole trace.
        until: what is waited for.
    """
    top = root or trace.root
    if top is None:
        return []
    ends = {span.index: span.end for span in trace.spans}
    if until == "end":
        for span in reversed(trace.spans):  # children before their parents
            if span.parent is not None:
                ends[span.parent.index] = max(ends[span.parent.index], ends[span.index])
    left: list[_Window | Segment]
    if until == "end" and root is None:
        left = [_Window(None, trace.roots, trace.start, trace.end)]
    else:
        left = [_Window(top, top.children, top.start, ends[top.index])]
    segments: list[Segment] = []
    while left:
        item = left.pop()
        if isinstance(item, Segment):
            segments.append(item)
        else:
            left.extend(_divided(item, ends, until))
    return segments


def time_on_path(segments: Iterable[Segment]) -> dict[int, int]:
    """Nanoseconds that each span holds up the end, by its ``index``; those on the path only."""
    times: Counter[int] = Counter()
    for segment in segments:
        times[segment.span.index] += segment.duration
    return dict(times)


def _divided(window: _Window, ends: dict[int, int], until: Until) -> list[_Window | Segment]:
    """What ``window`` consists of, last first."""
    windows = []
    for child in window.children:
        if window.span is not None and child.open_only:
            continue
        if until == "end" or window.span is None or _waited_for(child, window.span):
            start, end = max(child.start, window.start), min(ends[child.index], window.end)
            if start < end or (start == end and until == "end"):  # a wait may be for something that takes no time
                windows.append(_Window(child, child.children, start, end))
    windows.sort(key=lambda each: (-each.end, each.start))
    parts: list[_Window | Segment] = []
    at, following = window.end, window.following
    for inner in windows:
        if inner.end > at:
            if until == "answer" or inner.start >= at:
                continue
            inner = replace(inner, end=at)  # it was at work, too, when nothing else is known to have been
        parts += _between(window.span, inner.end, at, following)
        parts.append(replace(inner, following=following))
        at, following = inner.start, inner.span
    parts += _between(window.span, window.start, at, following)
    return parts


def _between(span: SpanView | None, start: int, end: int, following: SpanView | None) -> list[Segment]:
    """What ``span`` did itself in a time without its children, and the wait for the next one after its end."""
    over = start if span is None else min(max(span.end, start), end)
    found = []
    if over < end and following is not None:
        found.append(Segment(following, over, end, waiting=True))
    if start < over and span is not None:
        found.append(Segment(span, start, over))
    return found


def _waited_for(child: SpanView, parent: SpanView) -> bool:
    return not child.detached and (child.end <= parent.end or (child.kind == "server" and parent.kind == "client"))
