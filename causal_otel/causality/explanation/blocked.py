"""Time in which an event loop stood still is taken out of what its victims seemed to do meanwhile."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from causal_otel.causality.explanation.categories import LOOP_BLOCKED, Category
from causal_otel.causality.explanation.pieces import Piece
from causal_otel.causality.spans.parts import begin, makes_room, measured
from causal_otel.causality.spans.stalls import Stalls, is_stall
from causal_otel.names import CAUSAL_LOOP_BLOCKED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from causal_otel.causality.explanation.known_stalls import KnownStalls
    from causal_otel.causality.spans import Span, Trace

__all__ = ["without_stalls"]

_ELSEWHERE = Category(LOOP_BLOCKED, "by another request or task")
_UNEXPLAINED = frozenset({"database", "network", "own_code", "publish", "remote", "unawaited_task"})
"""The kinds of pieces that no part of a span's time tells of."""


def without_stalls(trace: Trace[Span], pieces: Sequence[Piece], known: KnownStalls) -> list[Piece]:
    """The pieces, with the stalls of their spans' event loop in the place of what they seemed to be meanwhile.

    A span says how long its loop stood still (``causal.loop.blocked``). Where the stalls themselves are known, so is
    when it was. Of the rest nobody knows. If the span's parts leave room for it, it is cut out of what they do not
    explain, and else out of the longest pieces: who waits long is more likely to have waited through it.
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
        apart = suffered is None or piece.category.kind == LOOP_BLOCKED or _before(piece)
        found += [piece] if suffered is None or apart else _cut(piece, suffered, known)
    return list(_cut_unknown(found, _unknown(trace, found, said, stalls)))


def _before(piece: Piece) -> bool:
    """Whether it lies before its span."""
    return piece.end <= begin(piece.span)


def _cut(piece: Piece, stalls: Stalls, known: KnownStalls) -> Iterator[Piece]:
    at, skew = piece.start, piece.span.skew
    for first, last, stall in stalls.within(piece.start - skew, piece.end - skew):
        if at < first + skew:
            yield replace(piece, start=at, end=first + skew)
        yield Piece(piece.span, first + skew, last + skew, known.category(stall))
        at = last + skew
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
        unexplained = _UNEXPLAINED if makes_room(pieces[places[0]].span) else frozenset()
        longest = [(pieces[place].category.kind not in unexplained, -pieces[place].duration, place) for place in places]
        for _, _, place in sorted(longest):
            cut[place] = min(left[index], pieces[place].duration)
            left[index] -= cut[place]
    for place, piece in enumerate(pieces):
        blocked = cut.get(place, 0)
        if blocked < piece.duration:
            yield replace(piece, end=piece.end - blocked)
        if blocked:
            yield Piece(piece.span, piece.end - blocked, piece.end, _ELSEWHERE)
