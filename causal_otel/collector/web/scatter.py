"""The scatter of latency over time: where each trace's dot, the axes and their labels are, as numbers for an SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from causal_otel.collector.units import format_duration
from causal_otel.collector.web.axis import AxisLabel
from causal_otel.collector.web.templating import utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from causal_otel.collector.query import Summary

__all__ = ["Dot", "Scatter", "scatter"]

WIDTH, HEIGHT = 960, 230
LEFT, RIGHT, TOP, BOTTOM = 62, 18, 14, 28

_SECOND = 10**9
_LETTER = 7.0
_SHORTEST_TIME = 5 * _SECOND
_TIME_TICKS = 7
_TIME_STEPS = tuple(
    seconds * _SECOND
    for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
)
_DAY = 86400 * _SECOND
_SMALLEST_DOT, _LARGEST_DOT = 4.0, 12.0


@dataclass(frozen=True, slots=True)
class Dot:
    """A trace: its centre and radius."""

    trace: Summary
    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Scatter:
    """The whole chart, in the units of its ``viewBox``; large dots come first, lest they hide small ones."""

    dots: tuple[Dot, ...]
    times: tuple[AxisLabel, ...]
    durations: tuple[AxisLabel, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def scatter(traces: Sequence[Summary]) -> Scatter | None:
    """Lay out ``traces``: their start to the right, their duration upwards on a logarithmic axis; None without any."""
    if not traces:
        return None
    start, end = _time_range(traces)
    low, high = _duration_range(traces)

    def x(time: int) -> float:
        return round(LEFT + (time - start) / (end - start) * (WIDTH - LEFT - RIGHT), 1)

    def y(duration: float) -> float:
        share = (math.log10(max(1.0, duration)) - low) / (high - low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    dots = [Dot(trace, x(trace.start), y(trace.duration), _radius(trace.spans)) for trace in traces]
    return Scatter(
        dots=tuple(sorted(dots, key=lambda dot: -dot.radius)),
        times=tuple(
            AxisLabel(x(time), label)
            for time, label in _time_ticks(start, end)
            if x(time) + len(label) * _LETTER / 2 <= WIDTH
        ),
        durations=tuple(AxisLabel(y(value), format_duration(value)) for value in _duration_ticks(low, high)),
    )


def _radius(spans: int) -> float:
    return round(min(_LARGEST_DOT, _SMALLEST_DOT + 0.45 * math.sqrt(spans - 1)), 1)


def _time_range(traces: Sequence[Summary]) -> tuple[int, int]:
    """From the first start to the last, at least a few seconds, with a little air at both ends."""
    first, last = min(trace.start for trace in traces), max(trace.start for trace in traces)
    missing = max(0, _SHORTEST_TIME - (last - first)) // 2
    air = missing + (last - first) // 40
    return first - air, last + air


def _duration_range(traces: Sequence[Summary]) -> tuple[float, float]:
    """The decimal logarithms of the axis' ends: all durations with a little air, and at least one decade."""
    low = math.log10(max(1, min(trace.duration for trace in traces)))
    high = math.log10(max(1, max(trace.duration for trace in traces)))
    air = max(0.12, (1 - (high - low)) / 2)
    return low - air, high + air


def _duration_ticks(low: float, high: float) -> list[int]:
    """Powers of ten; where they are few, twice and five times those as well; where they are many, fewer."""
    decades = range(math.floor(low), math.ceil(high) + 1)
    factors = (1, 2, 5) if high - low <= 2 else (1,)
    values = [factor * 10**decade for decade in decades if decade >= 0 for factor in factors]
    inside = [value for value in values if low <= math.log10(value) <= high]
    return inside[:: max(1, math.ceil(len(inside) / 7))]


def _time_ticks(start: int, end: int) -> list[tuple[int, str]]:
    wanted = (end - start) / _TIME_TICKS
    step = next((step for step in _TIME_STEPS if step >= wanted), _DAY * max(1, math.ceil(wanted / _DAY)))
    if step >= _DAY:
        form = "%b %d"
    elif end // _DAY != start // _DAY:
        form = "%b %d %H:%M"
    else:
        form = "%H:%M" if step >= 60 * _SECOND else "%H:%M:%S"
    return [(time, utc(time, form)) for time in range(-(-start // step) * step, end + 1, step)]
