"""The parts of a span's time at their places on the time axis: :func:`placed_parts`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from causal_otel.causality.spans.stalls import is_stall
from causal_otel.collector.analysis.where_time_went import LOOP_BLOCKED, Part, where_time_went
from causal_otel.names import CAUSAL_FETCH, CAUSAL_LOOP_BLOCKED, CAUSAL_SEND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from causal_otel.causality.spans.stalls import Stalls
    from causal_otel.collector.view import SpanView

__all__ = ["PlacedPart", "placed_parts"]

_AT_THE_END = (CAUSAL_FETCH, CAUSAL_SEND)
_REST = "rest"
_ROUGHLY = 10
"""By this part of a span's own measure its stalls may be shorter: clocks are read at different moments."""

_MOST_STALLS = 100
"""Stalls in one span that are told apart. Of more the amount must do: each would be drawn in each span around it."""

_Stretch = tuple[int, int]


@dataclass(frozen=True, slots=True)
class PlacedPart:
    """A part of a span's time.

    Attributes:
        part: which one, and how long it took in all.
        stretches: from when until when, in Unix nanoseconds by the span's own clock; several where a stall is between.
        known: whether it is known when it was. Else only its length is, and it lies where it mostly is.
    """

    part: Part
    stretches: tuple[_Stretch, ...]
    known: bool = False


def placed_parts(span: SpanView, stalls: Callable[[], Stalls | None]) -> list[PlacedPart]:
    """The parts of the span's time without the rest, in the order of :func:`where_time_went`.

    They follow each other in that order, around the stalls of the event loop. What nothing was measured of is before
    those that end the span, which are reading and sending. What was before the span ends at its start. The record of a
    stall is one part.

    Args:
        span: the span.
        stalls: gives the stalls of its event loop, None if none is known. It is called only for a span that has
            suffered from one.
    """
    if is_stall(span):
        stall = Part(CAUSAL_LOOP_BLOCKED, LOOP_BLOCKED, span.duration, 1.0)
        return [PlacedPart(stall, ((span.start, span.end),), known=True)] if span.duration else []
    parts = where_time_went(span)
    if not parts:
        return []
    inside = [part for part in parts if not part.before and part.key != CAUSAL_LOOP_BLOCKED]
    blocked = next((part for part in parts if part.key == CAUSAL_LOOP_BLOCKED), None)
    held = None if blocked is None else _stalled(span, blocked, stalls())
    places = _flowing(_in_order(inside), _free(span, () if held is None else held.stretches))
    found = [
        PlacedPart(part, ((span.start - part.duration, span.start),) if part.before else tuple(places[part.key]))
        for part in parts
        if part.key not in (_REST, CAUSAL_LOOP_BLOCKED)
    ]
    return found if held is None else [*found, held]


def _stalled(span: SpanView, blocked: Part, stalls: Stalls | None) -> PlacedPart:
    """Its stretches where they are known; of what is not, the amount at the end."""
    within = () if stalls is None else islice(stalls.within(span.start, span.end), _MOST_STALLS + 1)
    known = [(start, end) for start, end, _ in within]
    if len(known) > _MOST_STALLS:
        known.clear()
    left = blocked.duration - sum(end - start for start, end in known)
    exact = bool(known) and left <= blocked.duration // _ROUGHLY
    return PlacedPart(blocked, tuple(known if exact else _with_end(span, known, left)), known=exact)


def _with_end(span: SpanView, known: Sequence[_Stretch], left: int) -> list[_Stretch]:
    """The stretches, and so much at the end besides, as far as it is free."""
    free = list(_free(span, known))
    found = list(known)
    while left > 0 and free:
        start, end = free.pop()
        found.append((max(start, end - left), end))
        left -= end - start
    merged: list[_Stretch] = []
    for start, end in sorted(found):
        if merged and merged[-1][1] == start:
            start = merged.pop()[0]
        merged.append((start, end))
    return merged


def _in_order(parts: Sequence[Part]) -> list[Part]:
    """The parts as they happen: the rest is before what ends the span."""
    rest = [part for part in parts if part.key == _REST]
    last = [part for part in parts if part.key in _AT_THE_END]
    first = [part for part in parts if part.key != _REST and part.key not in _AT_THE_END]
    return [*first, *rest, *last]


def _free(span: SpanView, taken: Sequence[_Stretch]) -> Iterator[_Stretch]:
    at = span.start
    for start, end in taken:
        if at < start:
            yield at, start
        at = max(at, end)
    if at < span.end:
        yield at, span.end


def _flowing(parts: Sequence[Part], free: Iterator[_Stretch]) -> dict[str, list[_Stretch]]:
    """Each part's stretches, one after the other in what is free."""
    found: dict[str, list[_Stretch]] = {part.key: [] for part in parts}
    at = next(free, None)
    for part in parts:
        left = part.duration
        while left > 0 and at is not None:
            start, end = at
            until = min(end, start + left)
            found[part.key].append((start, until))
            left -= until - start
            at = (until, end) if until < end else next(free, None)
    return found
