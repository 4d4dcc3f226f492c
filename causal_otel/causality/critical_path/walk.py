"""The way from the end backwards: :func:`critical_path`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from causal_otel.causality.critical_path.forest import NOBODY, Forest, forest
from causal_otel.causality.critical_path.frames import Frames, Waited
from causal_otel.causality.critical_path.links import Links
from causal_otel.causality.critical_path.segments import Segment, Until, Via
from causal_otel.causality.critical_path.tasks import tasks
from causal_otel.causality.spans import SpanT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from causal_otel.causality.spans import Trace

__all__ = ["critical_path"]


def critical_path(
    trace: Trace[SpanT],
    root: SpanT | None = None,
    until: Until = "answer",
    others: Sequence[Trace[SpanT]] = (),
) -> list[Segment[SpanT]]:
    """The segments that make up the time of ``root`` or of the trace, in order: each nanosecond is in exactly one.

    It takes O(n log n) for n spans, whatever their shape, and does not recurse.

    To the answer, a child without edges that goes on after its parent was not waited for, nor was a detached one:
    neither is on the path. The server's side of a call is, until the client's end, since servers often end a little
    after their answer is read. To the end, all work counts; where nothing runs, as between a message's sending and its
    being worked on, the next span's start is waited for.

    Args:
        trace: the trace.
        root: whose time to explain, until its end; default: the trace's root, or to the end the whole trace.
        until: what is waited for.
        others: traces that links may lead to. To the end of the whole trace, the path begins where that of these
            begins to which the last such link has led.
    """
    top = root or trace.root
    if top is None or top.untimed:
        return []
    traces = [trace, *(other for other in others if other is not trace)]
    found = forest(traces)
    return _Walk(found, Frames(found, tasks(found), until), Links(found, traces), until).walk(
        None if until == "end" and root is None else top.index
    )


class _Walk(Generic[SpanT]):
    """The path as far as it is known: all after ``at`` is explained, which comes only nearer to ``floor``.

    Every step takes something of what was waited for in a frame, or finishes a frame. So there are at most as many
    steps as there are frames and what was waited for in them.
    """

    def __init__(self, found: Forest[SpanT], frames: Frames, links: Links, until: Until) -> None:
        self.forest, self.frames, self.links, self.until = found, frames, links, until
        self.at = self.floor = 0
        self.following = NOBODY
        """The span on the path that begins at ``at``, or did where the path came into the frame that it is in."""
        self.found: list[tuple[int, int, int, bool]] = []
        """The segments, last first: span, start, end, whether it is waiting."""
        self.via: dict[int, Via] = {}
        self.came: dict[int, int] = {}
        """When the path came to a frame from one that had waited for it, not from below."""
        self.taken: dict[int, int] = {}
        """How much of what was waited for in a frame has been seen."""
        self.finished: dict[int, int] = {}
        """Frames in which nothing is left, with the one to go to instead."""
        self.instead: dict[int, int] = {}
        """Frames that the path does not enter, with the one to go to instead."""

    def walk(self, top: int | None) -> list[Segment[SpanT]]:
        """The path to the end of the span with that number, or of the first trace."""
        forest, roots = self.forest, self.frames.roots
        if top is None:
            frame, self.floor, self.at = roots[0], forest.begins[0], forest.ends[0]
        else:
            frame, self.floor = top, forest.start[top]
            self.at = forest.over[top] if self.until == "end" else forest.end[top]
            self.via[top] = "end"
            self.instead = dict.fromkeys(roots, top)
            above = forest.parent[top]
            while above != NOBODY:
                self.instead[above] = top
                above = forest.parent[above]
        self.came[frame] = self.at
        while self.at > self.floor:
            frame = self._open(frame)
            waited = self._last_waited(frame)
            frame = self._finish(frame) if waited is None else self._enter(frame, waited)
        return [
            Segment(forest.spans[span], start, end, waiting, self.via[span])
            for span, start, end, waiting in reversed(self.found)
        ]

    def _open(self, frame: int) -> int:
        """That frame, or where the path goes on if nothing is left in it."""
        finished = self.finished
        while frame in finished:
            up = finished[frame]
            if up in finished:  # the next time the way is half as long
                finished[frame] = finished[up]
            frame = up
        return self.instead.get(frame, frame)

    def _last_waited(self, frame: int) -> Waited | None:
        """What was over last, by now, of what was waited for in the frame."""
        at, frames = self.at, self.frames
        cut = self.came.get(frame) == at
        if cut and frame == frames.span[frame] and not frames.beside[frame] and at > self.forest.end[frame]:
            for waited in frames.outlasting(frame):
                if (-waited.before <= at or waited.start < at) and waited.frame not in self.finished:
                    return waited
        running = cut or frames.beside[frame]
        found = frames.waited(frame)
        for number in range(self.taken.get(frame, 0), len(found)):
            waited = found[number]
            if -waited.before <= at or (running and waited.is_span and waited.start < at):
                self.taken[frame] = number + 1
                return waited
        self.taken[frame] = len(found)
        return None

    def _enter(self, frame: int, waited: Waited) -> int:
        via: Via = "edge" if waited.edge and self.via.get(frame) != "heuristic" else "heuristic"
        if self.until == "end" and not self.found and self.at <= -waited.before:
            via = "end"
        self._explain(frame, -waited.before)
        self.via.setdefault(waited.frame, via)
        self.came[waited.frame] = self.at
        return waited.frame

    def _finish(self, frame: int) -> int:
        forest, frames = self.forest, self.frames
        span, up = frames.span[frame], frames.up[frame]
        if span == NOBODY:
            self._explain(frame, self.floor)
            self.at = self.floor
            return frame
        self.finished[frame] = up
        if frame != span:
            return up
        self._explain(frame, forest.start[span])
        self.following = span
        before = self.links.before(span)
        if before == NOBODY or before in self.finished:
            return up
        self._add(span, forest.end[before], waiting=True)
        self.via.setdefault(before, "link")
        self.came[before] = self.at
        if not self.instead:
            self.floor = forest.begins[frames.roots.index(frames.root_of(before))]
        return before

    def _explain(self, frame: int, start: int) -> None:
        """All from ``start`` on is the frame's own, but what lies after its span: that has waited for what follows."""
        span = self.frames.span[frame]
        if self.following != NOBODY:
            self._add(self.following, start if span == NOBODY else max(start, self.forest.end[span]), waiting=True)
        if span != NOBODY:
            self._add(span, start, waiting=False)

    def _add(self, span: int, start: int, *, waiting: bool) -> None:
        start, end = max(start, self.floor), self.at
        if start >= end:
            return
        self.at = start
        self.via.setdefault(span, "parent")
        if self.found and self.found[-1][0] == span and self.found[-1][3] == waiting:
            end = self.found.pop()[2]
        self.found.append((span, start, end, waiting))
