"""The critical path in pieces, each of one span and one category: what was measured, laid out in time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from causal_otel.causality.critical_path.segments import Stretch
from causal_otel.causality.spans.parts import (
    INSIDE,
    begin,
    end,
    makes_room,
    measured,
    parts_before,
    thread_wait_is_inside,
)
from causal_otel.names import (
    CAUSAL_FETCH,
    CAUSAL_LOOP_BLOCKED,
    CAUSAL_PREFETCH_WAIT,
    CAUSAL_QUEUE_WAIT,
    CAUSAL_SEND,
    CAUSAL_SERVER,
    CAUSAL_THREADPOOL_WAIT,
    CELERY_TASK_ETA,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from causal_otel.causality.critical_path import Segment
    from causal_otel.causality.explanation.categories import Category, Namer
    from causal_otel.causality.explanation.known_stalls import KnownStalls
    from causal_otel.causality.spans import Span, Trace

__all__ = ["Piece", "before", "laid_out"]

_AT_THE_END = (CAUSAL_FETCH, CAUSAL_SEND)
_ELSEWHERE = (CAUSAL_SERVER, CAUSAL_LOOP_BLOCKED)
"""The first is what the rest of the span is called anyway; the second is laid over all else later."""

_UNKNOWN = frozenset({"not_due", "own_code", "queue_wait", "unawaited_task", "untraced"})
"""The kinds of pieces of which a later span may know better."""


@dataclass(slots=True)
class Piece(Stretch):
    """A time of the critical path, in Unix nanoseconds by its clock, that ``span`` spent on one thing."""

    span: Span
    start: int
    end: int
    category: Category


def laid_out(trace: Trace[Span], path: Sequence[Segment[Span]], namer: Namer, stalls: KnownStalls) -> list[Piece]:
    """The pieces of ``path``, in order.

    Only how long a part took is known, not when it was, so each lies where it mostly is: waiting for a connection at
    the beginning, reading at the end; around the stalls that are known, if the parts leave room for them. A wait before
    a span is cut out of what its parent was doing then.
    """
    timelines = _timelines(trace, path)
    pieces = [
        piece for span, timeline in timelines for piece in _of_span(span, _with_stalls(span, timeline, stalls), namer)
    ]
    pieces += [
        Piece(segment.span, segment.start, segment.end, _unstarted(segment.span, namer))
        for segment in path
        if segment.waiting
    ]
    pieces.sort(key=lambda piece: (piece.start, piece.end))
    for span, _ in timelines:
        for wait in before(span, namer):
            first = bisect_right(pieces, wait.start, key=lambda piece: piece.end)
            last = bisect_left(pieces, wait.end, key=lambda piece: piece.start)
            pieces[first:last] = _known_better(pieces[first:last], wait)
    return pieces


def before(span: Span, namer: Namer) -> list[Piece]:
    """What a span waited for before it started, by its attributes."""
    parts = parts_before(span)
    waits: list[Piece] = []
    start = begin(span)
    queued = parts.get(CAUSAL_QUEUE_WAIT, 0)
    prefetched = min(queued, measured(span.attributes, CAUSAL_PREFETCH_WAIT))
    if queued > prefetched:
        waits.append(Piece(span, start - queued, start - prefetched, namer.queued(span)))
    if prefetched:
        waits.append(Piece(span, start - prefetched, start, namer.prefetched()))
    if thread := parts.get(CAUSAL_THREADPOOL_WAIT):
        waits.append(Piece(span, start - thread, start, namer.thread()))
    at = start
    for wait in reversed(waits):  # one after the other: what lies nearest to the span is known best
        wait.end = min(wait.end, at)
        at = min(wait.start, at)
    return [wait for wait in waits if wait.start < wait.end]


def _unstarted(span: Span, namer: Namer) -> Category:
    """Why a span that the end was waiting for had not started."""
    if span.kind != "consumer":
        return namer.untraced(span)
    # What lies before its own measure of its wait, which begins when it was due.
    due = CELERY_TASK_ETA in span.attributes and CAUSAL_QUEUE_WAIT in span.attributes
    return namer.not_due() if due else namer.queued(span)


def _known_better(pieces: Iterable[Piece], wait: Piece) -> Iterator[Piece]:
    """The pieces, with ``wait`` in the place of what its span's ancestors did meanwhile as far as anybody knew."""
    for piece in pieces:
        start, until = max(piece.start, wait.start), min(piece.end, wait.end)
        if start >= until or piece.category.kind not in _UNKNOWN or not _waits(wait.span, piece.span):
            yield piece
            continue
        if piece.start < start:
            yield replace(piece, end=start)
        yield Piece(wait.span, start, until, wait.category)
        if until < piece.end:
            yield replace(piece, start=until)


def _waits(span: Span, other: Span) -> bool:
    """Whether ``other`` is the span or one above it."""
    at: Span | None = span
    while at is not None and at is not other:
        at = at.parent
    return at is other


# -- one span ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A time in which a span was at its own business.

    Attributes:
        start: from when.
        end: until when.
        shown: whether the critical path leads through it.
        stalled: by what its event loop was stuck; None: it was not, as far as is known.
    """

    start: int
    end: int
    shown: bool
    stalled: Category | None = None


def _timelines(trace: Trace[Span], path: Sequence[Segment[Span]]) -> list[tuple[Span, list[_Stretch]]]:
    """Each span on the path, and when it was not waiting for a child on the path; in the order of the trace.

    What lies before and after its part of the path belongs to it: parts of its time may lie there, and are not shown.
    """
    own: defaultdict[int, list[_Stretch]] = defaultdict(list)
    windows: dict[int, tuple[int, int]] = {}
    for segment in path:
        if not segment.waiting:
            own[segment.span.index].append(_Stretch(segment.start, segment.end, True))
            _widen(windows, segment.span, segment.start, segment.end)
    for span in reversed(trace.spans):  # children before their parents
        if span.index in windows and span.parent is not None:
            first, last = windows[span.index]
            _widen(windows, span.parent, max(first, begin(span.parent)), min(last, end(span.parent)))
    found = []
    for span in trace.spans:
        if span.index in own:
            first, last = windows[span.index]
            timeline = [*own[span.index]]
            if begin(span) < first:
                timeline.insert(0, _Stretch(begin(span), first, False))
            if last < end(span):
                timeline.append(_Stretch(last, end(span), False))
            found.append((span, timeline))
    return found


def _widen(windows: dict[int, tuple[int, int]], span: Span, start: int, end: int) -> None:
    if start < end:
        known = windows.get(span.index, (start, end))
        windows[span.index] = min(known[0], start), max(known[1], end)


def _with_stalls(span: Span, timeline: Sequence[_Stretch], known: KnownStalls) -> Sequence[_Stretch]:
    """The timeline of a span, in which the stalls that its parts leave room for have their places."""
    if not measured(span.attributes, CAUSAL_LOOP_BLOCKED) or not makes_room(span):
        return timeline
    stalls = known.of(span)
    if stalls is None:
        return timeline
    found: list[_Stretch] = []
    for stretch in timeline:
        at = stretch.start
        for first, last, stall in stalls.within(stretch.start - span.skew, stretch.end - span.skew):
            start, until = first + span.skew, last + span.skew
            found += [replace(stretch, start=at, end=start)] if at < start else []
            found.append(replace(stretch, start=start, end=until, stalled=known.category(stall)))
            at = until
        found += [replace(stretch, start=at)] if at < stretch.end else []
    return found


def _of_span(span: Span, timeline: Sequence[_Stretch], namer: Namer) -> Iterator[Piece]:
    """The pieces of a span: its parts one after the other, what is not known between them."""
    lengths = [(category, length) for category, length in _lengths(span, namer)]
    for stretch in timeline:
        if stretch.stalled is not None and stretch.shown:
            yield Piece(span, stretch.start, stretch.end, stretch.stalled)
    timeline = [stretch for stretch in timeline if stretch.stalled is None]
    left = sum(stretch.end - stretch.start for stretch in timeline)
    rest = max(0, left - sum(length for _, length in lengths))
    served = any(child.kind == "server" for child in span.children)
    itself = namer.itself(span, served=served)
    place = next((number for number, (key, _) in enumerate(lengths) if key in _AT_THE_END), len(lengths))
    named = [(namer.part(span, key) or itself, length) for key, length in lengths]
    named.insert(place, (itself, rest))
    stretches = iter(timeline)
    at: _Stretch | None = next(stretches, None)
    for category, length in named:
        while length and at is not None:
            until = min(at.end, at.start + length)
            if at.shown:
                yield Piece(span, at.start, until, category)
            length -= until - at.start
            at = replace(at, start=until) if until < at.end else next(stretches, None)


def _lengths(span: Span, namer: Namer) -> Iterator[tuple[str, int]]:
    """The parts of a span's time, by their attributes, in the order in which they happen."""
    attributes = span.attributes
    inside = thread_wait_is_inside(span.scope.name)
    for key in INSIDE:
        if key in _ELSEWHERE or (key == CAUSAL_THREADPOOL_WAIT and not inside):
            continue
        if length := measured(attributes, key):
            yield key, length
