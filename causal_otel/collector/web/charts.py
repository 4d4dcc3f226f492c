"""Charts over time: stacked bars and lines, as numbers for an SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.collector.trends.window import DAY, HOUR, MINUTE
from causal_otel.collector.units import ticks
from causal_otel.collector.web.axis import AxisLabel
from causal_otel.collector.web.templating import utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from causal_otel.collector.trends.window import Bin, Window

    _Place = Callable[[float], float]

__all__ = ["Column", "Line", "Mark", "TimeChart", "count_ticks", "duration_ticks", "short", "time_chart"]

WIDTH, HEIGHT = 960, 210
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 12, 28
_TIME_TICKS = 8
_STEPS = tuple(minutes * MINUTE for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720))
"""Of a clock."""
_GAP = 0.12
"""The share of a column that is left free between bars."""


class Mark(NamedTuple):
    """A piece of a bar: its CSS class, and where it is."""

    name: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """A minute, an hour or a day of the chart.

    Attributes:
        at: when it begins, as addresses have it.
        x: its left edge.
        width: of it all; of its bar a little less.
        bar_x: the left edge of its bar.
        bar_width: of the bar.
        says: what is told of it.
        over: whether it is.
        marks: its bar, from below.
    """

    at: str
    x: float
    width: float
    bar_x: float
    bar_width: float
    says: str
    over: bool
    marks: tuple[Mark, ...]


class Line(NamedTuple):
    """A line: its CSS class and its points, of each run without a gap."""

    name: str
    points: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TimeChart:
    """The whole chart, in the units of its ``viewBox``. ``moment`` is where the moment is; None: nowhere."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    values: tuple[AxisLabel, ...]
    times: tuple[AxisLabel, ...]
    moment: float | None = None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


class Scale(NamedTuple):
    """The axis of values: its end, and what is written on it."""

    top: float
    labels: tuple[tuple[float, str], ...]


def duration_ticks(longest: float) -> Scale:
    """An axis of durations in nanoseconds, from 0 to ``longest`` or a little more."""
    found = ticks(max(1, math.ceil(longest)), 5)
    return Scale(max(1.0, longest * 1.04), tuple((each.at, each.label) for each in found))


def count_ticks(most: float) -> Scale:
    """An axis of counts."""
    step = max(1.0, most / 4)
    power = 10 ** math.floor(math.log10(step))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step)
    labels = [(place * step, short(place * step)) for place in range(math.floor(most / step) + 1)]
    return Scale(max(1.0, most * 1.04), tuple(labels))


def short(number: float) -> str:
    """A number in few letters: ``12 k``."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g}\u202f{unit}"
    return f"{number:.3g}"


def time_chart(
    window: Window,
    scale: Scale,
    says: Sequence[str],
    *,
    stacks: Sequence[Sequence[tuple[str, float]]] = (),
    lines: Mapping[str, Sequence[float | None]] | None = None,
    moment: int | None = None,
) -> TimeChart:
    """Lay out a chart.

    Args:
        window: the time.
        scale: the axis of values.
        says: what is told of each bin.
        stacks: for each bin what its bar is made of, from below: CSS class and value.
        lines: for each CSS class the value of each bin, None where there is none.
        moment: what is to be marked, Unix time in nanoseconds.
    """
    wide = (WIDTH - LEFT - RIGHT) / len(window.bins)

    def x(place: float) -> float:
        return round(LEFT + place * wide, 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - min(1.0, value / scale.top) * (HEIGHT - TOP - BOTTOM), 1)

    columns = []
    for place, each in enumerate(window.bins):
        marks = tuple(_marks(stacks[place], y)) if stacks else ()
        columns.append(
            Column(
                utc(each.start, "%Y-%m-%dT%H:%M"),
                x(place),
                round(wide, 2),
                x(place + _GAP / 2),
                round(wide * (1 - _GAP), 2),
                says[place],
                each.over,
                marks,
            )
        )
    drawn = tuple(
        Line(name, tuple(_runs([None if value is None else y(value) for value in values], x)))
        for name, values in (lines or {}).items()
    )
    return TimeChart(
        columns=tuple(columns),
        lines=drawn,
        values=tuple(AxisLabel(y(value), label) for value, label in scale.labels),
        times=tuple(AxisLabel(x(place), label) for place, label in _times(window.bins, window.step)),
        moment=None if moment is None else x((moment - window.start) / window.width),
    )


def _marks(stack: Sequence[tuple[str, float]], y: _Place) -> Iterator[Mark]:
    below = 0.0
    for name, value in stack:
        if value > 0:
            top, bottom = y(below + value), y(below)
            yield Mark(name, top, round(max(0.4, bottom - top), 1))
            below += value


def _runs(heights: Sequence[float | None], x: _Place) -> Iterator[str]:
    """The points of each run without a gap; a run of one bin is as long as the bin."""
    run: list[tuple[float, float]] = []
    for place, height in enumerate([*heights, None]):
        if height is not None:
            run.append((place, height))
            continue
        if len(run) == 1:
            ((only, at),) = run
            yield f"{x(only)},{at} {x(only + 1)},{at}"
        elif run:
            yield " ".join(f"{x(one + 0.5)},{at}" for one, at in run)
        run = []


def _times(bins: Sequence[Bin], step: str) -> Iterator[tuple[float, str]]:
    """Where the axis of time is labelled: at whole steps of a clock, or at days."""
    if step == "day":
        every = math.ceil(len(bins) / _TIME_TICKS)
        for place in range(0, len(bins), every):
            yield place + 0.5, utc(bins[place].start, "%b %d")
        return
    width = HOUR if step == "hour" else MINUTE
    wanted = len(bins) * width / _TIME_TICKS
    every = next((each for each in _STEPS if each >= max(wanted, width)), DAY * math.ceil(wanted / DAY))
    for place, each in enumerate(bins):
        if each.start % every == 0:
            yield place, utc(each.start, "%b %d" if each.start % DAY == 0 else "%H:%M")
