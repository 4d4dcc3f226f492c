"""The bar of a span as SVG: where its time went, and what of it is on the critical path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from causal_otel.collector.units import format_duration
from causal_otel.collector.web.legend import path_class, path_says
from causal_otel.names import CAUSAL_LOOP_BLOCKED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from causal_otel.causality.critical_path import Segment
    from causal_otel.collector.analysis import Explained, PlacedPart, SpanView

__all__ = ["Axis", "PartView", "drawing", "gap_drawing", "parts", "path_rects", "path_shapes", "run_drawing", "strokes"]

_LEAST_WIDTH = 0.08
_LEFT, _RIGHT = -5.0, 105.0
_UNITS = 1000
"""Of the width of a drawing that are told apart where many bars are one shape."""


@dataclass(frozen=True, slots=True)
class Axis:
    """What the width of a drawing stands for: nanoseconds from ``start`` on."""

    start: int
    length: int

    def at(self, time: int) -> float:
        """A moment in per cent from the left. What is far outside is just outside: drawings have no larger numbers."""
        return min(_RIGHT, max(_LEFT, round(100 * (time - self.start) / self.length, 3)))

    def place(self, start: int, end: int) -> tuple[float, float]:
        """Where a time begins, and its width, in per cent; what is too short to be seen is made a little longer."""
        x = self.at(start)
        return x, max(_LEAST_WIDTH, round(self.at(end) - x, 3))

    def holds(self, start: int, end: int) -> bool:
        """Whether any of that time is in it."""
        return end >= self.start and start <= self.start + self.length


@dataclass(frozen=True, slots=True)
class PartView:
    """A part of a span's time.

    Attributes:
        kind: its CSS class.
        says: what it says to people.
        before: whether it was before the span.
        places: its rectangles: x and width in per cent.
    """

    kind: str
    says: str
    before: bool
    places: tuple[tuple[float, float], ...]


def parts(explained: Explained, span: SpanView, axis: Axis) -> tuple[PartView, ...]:
    """Where the span's time went, and when."""
    return tuple(
        PartView(placed.part.label.replace(" ", "-"), _says(placed), placed.part.before, tuple(_places(placed, axis)))
        for placed in explained.parts(span)
    )


def _says(placed: PlacedPart) -> str:
    part = placed.part
    said = f"{part.label} {format_duration(part.duration)}"
    if part.before:
        return f"{said} before it started"
    when = ", when is not known" if part.key == CAUSAL_LOOP_BLOCKED and not placed.known else ""
    return f"{said}, {100 * part.share:.3g} %{when}"


def _places(placed: PlacedPart, axis: Axis) -> Iterable[tuple[float, float]]:
    for start, end in placed.stretches:
        left, right = max(0.0, axis.at(start)), min(100.0, axis.at(end))
        if left < right:
            yield left, round(right - left, 3)


# What follows writes HTML. It writes numbers and our own words, so nothing needs escaping. The template would take
# three times as long.


def path_rects(segments: Iterable[Segment[SpanView]], axis: Axis) -> Iterable[tuple[str, str]]:
    """For each of a span's segments of the critical path its CSS classes and its rectangle."""
    for segment in segments:
        name = path_class(segment)
        x, width = axis.place(segment.local_start, segment.local_start + segment.duration)
        says = f"critical path {format_duration(segment.duration)}; {path_says(segment)}"
        yield name, f'<rect class="{name}" x="{x}%" width="{width}%"><title>{says}</title></rect>'


def drawing(says: str, x: float, width: float, inside: Sequence[PartView], others: Iterable[str]) -> Markup:
    """A bar.

    Args:
        says: what it says when it is pointed at.
        x: where it begins, in per cent.
        width: of it, likewise.
        inside: where its time went.
        others: what is drawn over it.
    """
    drawn = [f'<title>{says}</title><rect class="bar" x="{x}%" width="{width}%"/>']
    for part in inside:
        for left, wide in part.places:
            drawn.append(
                f'<rect class="part {part.kind}" x="{left}%" width="{wide}%"><title>{part.says}</title></rect>'
            )
    drawn.extend(others)
    return Markup("".join(drawn))  # noqa: S704


def gap_drawing(says: str, x: float, width: float, others: Iterable[str]) -> Markup:
    """The bar of a gap, which is an outline."""
    return Markup(f'<title>{says}</title><rect class="gap-bar" x="{x}%" width="{width}%"/>{"".join(others)}')  # noqa: S704


def strokes(times: Iterable[tuple[int, int]], axis: Axis) -> list[tuple[int, int]]:
    """Times as one shape: where it begins and ends, in thousandths of the axis, without overlaps and in order.

    Args:
        times: from when until when each is.
        axis: what it is drawn on.
    """
    first, length, most = axis.start, axis.length, _UNITS + 1
    places = {((start - first) * _UNITS // length, (end - first) * _UNITS // length) for start, end in times}
    found: list[tuple[int, int]] = []
    for place, until in sorted(places):
        left = min(most, max(-2, place))
        right = min(most, max(left + 1, until))
        if found and left <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], right)
        else:
            found.append((left, right))
    return found


def shape(drawn: Iterable[tuple[int, int]]) -> str:
    """The path of that shape, one unit high."""
    return "".join(f"M{left} 0h{right - left}v1h{left - right}z" for left, right in drawn)


def path_shapes(segments: Iterable[Segment[SpanView]], axis: Axis) -> Iterable[tuple[str, str]]:
    """The same of many segments: for each of the classes that they have one shape."""
    times: dict[str, list[tuple[int, int]]] = {}
    for segment in segments:
        start = segment.local_start
        times.setdefault(path_class(segment), []).append((start, start + segment.duration))
    for name, some in sorted(times.items()):
        drawn = f'<path class="{name}" d="{shape(strokes(some, axis))}"/>'
        yield name, f'<svg class="paths" y="20" height="3" {_SHAPES}>{drawn}</svg>'


_SHAPES = f'viewBox="0 0 {_UNITS} 1" preserveAspectRatio="none" width="100%"'


def run_drawing(says: str, drawn: Iterable[tuple[int, int]], others: Iterable[str]) -> Markup:
    """The bars of a run as one shape."""
    bars = f'<svg class="bars" y="7" height="12" {_SHAPES}><path class="bar" d="{shape(drawn)}"/></svg>'
    return Markup(f"<title>{says}</title>{bars}{''.join(others)}")  # noqa: S704
