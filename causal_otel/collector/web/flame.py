"""The flame chart of a trace: its tree of calls, in which equal siblings are one, as boxes as wide as their time."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.collector.analysis import SpanView, TraceView

__all__ = ["Box", "Flame", "Merged", "flame", "merged"]

MOST_BOXES = 1200
_DEEPEST = 60
"""Rows of boxes below the one that is as wide as the chart."""

_LEAST_WIDTH = 0.15
"""Per cent of the chart, from which on a box is drawn."""


@dataclass(slots=True)
class Merged:
    """Spans with equal places in the tree: of the same service, kind and name, below equal ones.

    Attributes:
        first: the first of them.
        name: of the box in addresses.
        above: those that they are below.
        below: those below them, by the start of the first.
        calls: how many there are.
        total: their durations added up, in nanoseconds.
        own: the time in which nothing below them ran, added up.
        errors: how many have failed.
    """

    first: SpanView
    name: str
    above: Merged | None
    below: list[Merged] = field(default_factory=list)
    calls: int = 0
    total: int = 0
    own: int = 0
    errors: int = 0

    @property
    def width(self) -> int:
        """The time that its box has to have room for: children at the same time may take more than it does."""
        return max(self.total, sum(each.total for each in self.below))


@dataclass(frozen=True, slots=True)
class Box:
    """A box: its row from 0, and its place and width in per cent."""

    what: Merged
    row: int
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Flame:
    """A flame chart.

    Attributes:
        boxes: those that are drawn, from above.
        rows: how many rows of them there are.
        zoomed: whether a box is as wide as the chart that is not all of it.
        left_out: how many are not drawn, because they are too narrow, too deep or too many.
    """

    boxes: tuple[Box, ...]
    rows: int
    zoomed: bool
    left_out: int


def merged(trace: TraceView) -> list[Merged]:
    """The outermost of the trace's merged spans."""
    found: dict[tuple[int, str, str, int], Merged] = {}
    roots: list[Merged] = []
    of: list[Merged] = []
    for span in trace.spans:  # parents before their children
        above = of[span.parent.index] if span.parent is not None else None
        key = id(above), span.service, span.name, span.message.kind
        what = found.get(key)
        if what is None:
            what = found[key] = Merged(span, _name(above, span), above)
            (roots if above is None else above.below).append(what)
        what.calls += 1
        what.total += span.duration
        what.own += span.self_time
        what.errors += span.error
        of.append(what)
    return roots


def flame(trace: TraceView, box: str = "") -> Flame:
    """Lay out the chart.

    Args:
        trace: the trace.
        box: the name of the one that is as wide as the chart; it is all of the trace if there is no such one.
    """
    roots = merged(trace)
    top = next((each for each in _all(roots) if each.name == box), None) if box else None
    inside = [top] if top is not None else roots
    row = 0
    boxes: list[Box] = []
    over = top.above if top is not None else None
    while over is not None:
        boxes.insert(0, Box(over, 0, 0.0, 100.0))
        over = over.above
    boxes = [Box(each.what, number, 0.0, 100.0) for number, each in enumerate(boxes)]
    row = len(boxes)
    drawn: list[Box] = []
    hidden = 0
    for placed in _laid_out(inside, row):
        if placed.width >= _LEAST_WIDTH and placed.row < row + _DEEPEST:
            drawn.append(placed)
        else:
            hidden += 1
    drawn.sort(key=lambda each: (-each.width, each.row, each.x))  # no box is wider than the one above it
    hidden += max(0, len(drawn) - MOST_BOXES)
    boxes += sorted(drawn[:MOST_BOXES], key=lambda each: (each.row, each.x))
    rows = 1 + max((each.row for each in boxes), default=-1)
    return Flame(tuple(boxes), rows, top is not None, hidden)


def _laid_out(inside: list[Merged], row: int) -> Iterator[Box]:
    left = [(inside, row, 0.0, 100.0, sum(each.total for each in inside))]
    while left:
        siblings, at_row, x, width, time = left.pop()
        for what in siblings:
            wide = width * what.total / time if time else width / len(siblings)
            yield Box(what, at_row, x, wide)
            if what.below:
                left.append((what.below, at_row + 1, x, wide, what.width))
            x += wide


def _all(roots: list[Merged]) -> Iterator[Merged]:
    left = list(roots)
    while left:
        what = left.pop()
        yield what
        left += what.below


def _name(above: Merged | None, span: SpanView) -> str:
    said = repr((above.name if above is not None else "", span.service, span.name, span.message.kind))
    return blake2b(said.encode("utf-8", "backslashreplace"), digest_size=6).hexdigest()
