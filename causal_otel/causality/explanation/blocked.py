"""Time in which an event loop stood still is taken out of what its victims seemed to do meanwhile."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from causal_otel.causality.explanation.categories import LOOP_BLOCKED, Category, stalled_by
from causal_otel.causality.explanation.parts import measured
from causal_otel.causality.explanation.pieces import Piece
from causal_otel.causality.explanation.stalls import Stall, Stalls, is_stall, stalls_of
from causal_otel.causality.explanation.targets import named
from causal_otel.names import CAUSAL_LOOP_BLOCKED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from causal_otel.causality.spans import Span, Trace

__all__ = ["KnownStalls", "without_stalls"]

_SLACK = 5_000_000
"""Nanoseconds by which a stall may be longer than what its victim says of it: clocks are read at different moments."""

_ELSEWHERE = Category(LOOP_BLOCKED, "by another request or task")


class KnownStalls:
    """The stalls that are known, of a trace and of others beside it, by their processes.

    Args:
        trace: the trace to explain.
        others: traces of the same time.
    """

    def __init__(self, trace: Trace[Span], others: Iterable[Trace[Span]] = ()) -> None:
        self.trace = trace
        self.own = stalls_of(trace)
        self._processes: dict[tuple[str, int], tuple[str, object]] = {}  # by service and resource, which is kept alive
        found: defaultdict[str, list[Stall]] = defaultdict(list)
        for stall in self.own:
            found[self.process_of(stall.span)].append(stall)
        for other in others:
            if other.trace_id != trace.trace_id:
                for stall in stalls_of(other):
                    found[self.process_of(stall.span)].append(stall)
        self._by_process = {process: Stalls(each) for process, each in found.items()}

    def process_of(self, span: Span) -> str:
        """What tells the process of a span from others, as far as its resource does."""
        key = span.service, id(span.resource)
        known = self._processes.get(key)
        if known is None:  # spans of one process mostly share the mapping
            said = sorted(span.resource.items(), key=lambda each: each[0])
            known = self._processes[key] = f"{span.service} {said}", span.resource
        return known[0]

    def of(self, span: Span) -> Stalls | None:
        """Those that a span has suffered; None: none that is known.

        A process of the same resource may be another one, whose stalls are longer than what the span says of its own.
        """
        stalls = self._by_process.get(self.process_of(span)) if self._by_process else None
        if stalls is None:
            return None
        said, seen = measured(span.attributes, CAUSAL_LOOP_BLOCKED), stalls.between(span.start, span.end)
        return stalls if seen <= said + max(_SLACK, said // 10) else None

    def category(self, stall: Stall) -> Category:
        """Whose fault it was."""
        root = None if stall.trace is self.trace else stall.trace.root
        where = "" if root is None else f" in {named(root.name)}, trace {stall.trace.trace_id}"
        return Category(LOOP_BLOCKED, f"by {stalled_by(stall.span)}", where)


def without_stalls(trace: Trace[Span], pieces: Sequence[Piece], known: KnownStalls) -> list[Piece]:
    """The pieces, with the stalls of their spans' event loop in the place of what they seemed to be meanwhile.

    A span says how long its loop stood still (``causal.loop.blocked``). Where the stalls themselves are known, so is
    when it was. Of the rest nobody knows: it is cut out of the longest pieces of the span, since who waits long is more
    likely to have waited through it.
    """
    said: dict[int, int] = {}
    for piece in pieces:
        span = piece.span
        if span.index not in said:
            said[span.index] = 0 if is_stall(span) else measured(span.attributes, CAUSAL_LOOP_BLOCKED)
    if not any(said.values()):
        return list(pieces)
    stalls = {span.index: known.of(span) for span in trace.spans if said.get(span.index)}
    found: list[Piece] = []
    for piece in pieces:
        suffered = stalls.get(piece.span.index)
        found += [piece] if suffered is None or _before(piece) else _cut(piece, suffered, known)
    return list(_cut_unknown(found, _unknown(trace, found, said, stalls)))


def _before(piece: Piece) -> bool:
    """Whether it lies before its span."""
    return piece.end <= piece.span.start


def _cut(piece: Piece, stalls: Stalls, known: KnownStalls) -> Iterator[Piece]:
    at = piece.start
    for start, end, stall in stalls.within(piece.start, piece.end):
        if at < start:
            yield replace(piece, start=at, end=start)
        yield Piece(piece.span, start, end, known.category(stall))
        at = end
    if at < piece.end:
        yield replace(piece, start=at)


def _unknown(
    trace: Trace[Span], pieces: Sequence[Piece], said: dict[int, int], stalls: dict[int, Stalls | None]
) -> dict[int, int]:
    """Nanoseconds to cut out of each span's pieces, by its index, whose place is not known.

    A span that goes on while its child waits says the same of the same stall: it is cut out of the child, once.
    """
    shown: defaultdict[int, int] = defaultdict(int)
    for piece in pieces:
        if not _before(piece):
            shown[piece.span.index] += piece.duration
    below: defaultdict[int, int] = defaultdict(int)
    left: dict[int, int] = {}
    for span in reversed(trace.spans):  # children before their parents
        claimed = below[span.index]
        if blocked := said.get(span.index, 0):
            suffered = stalls[span.index]
            rest = blocked - (suffered.between(span.start, span.end) if suffered is not None else 0)
            own = max(0, rest - claimed)
            if not span.children and span.duration:  # of one that is not on the path all the time, a share of it
                own = own * shown[span.index] // span.duration
            left[span.index] = min(own, shown[span.index])
            claimed = max(claimed, rest)
        if span.parent is not None and not span.local_root:
            below[span.parent.index] += claimed
    return {index: length for index, length in left.items() if length}


def _cut_unknown(pieces: Sequence[Piece], left: dict[int, int]) -> Iterator[Piece]:
    by_span: defaultdict[int, list[int]] = defaultdict(list)
    for place, piece in enumerate(pieces):
        if piece.span.index in left and piece.category.kind != LOOP_BLOCKED and not _before(piece):
            by_span[piece.span.index].append(place)
    cut: dict[int, int] = {}
    for index, places in by_span.items():
        for place in sorted(places, key=lambda each: (-pieces[each].duration, each)):
            cut[place] = min(left[index], pieces[place].duration)
            left[index] -= cut[place]
    for place, piece in enumerate(pieces):
        blocked = cut.get(place, 0)
        if blocked < piece.duration:
            yield replace(piece, end=piece.end - blocked)
        if blocked:
            yield Piece(piece.span, piece.end - blocked, piece.end, _ELSEWHERE)
