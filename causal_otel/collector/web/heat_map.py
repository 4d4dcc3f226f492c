"""The heat map of durations over time: where its cells, axes and labels are, and what its cells lead to."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from causal_otel.collector.heat import ROWS, limits_of_row
from causal_otel.collector.units import format_duration
from causal_otel.collector.web.axis import AxisLabel
from causal_otel.collector.web.box import Box, narrowed
from causal_otel.collector.web.templating import count as with_spaces
from causal_otel.collector.web.templating import utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from causal_otel.collector.heat import HeatCell, HeatMap
    from causal_otel.collector.web.forms import SearchForm

__all__ = ["Cell", "Drawing", "RowTotal", "draw"]

WIDTH, HEIGHT = 960, 250
LEFT, RIGHT, TOP, BOTTOM = 62, 18, 10, 28

STEPS = 5
"""Of the counts' scale, which is logarithmic."""
_SHARES = (0.1, 0.5)
"""Of those in a cell that failed: where its colour changes."""
_LEAST_ROWS = 8
_LETTER = 7.0
_SECOND = 10**9
_TIME_TICKS = 7
_TIME_STEPS = tuple(
    seconds * _SECOND
    for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
)
_DAY = 86400 * _SECOND
_ROWS_OF_A_DECADE = 5


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that is not empty.

    Attributes:
        column: which one, from 0.
        row: which one of those that are drawn, from 0 at the bottom.
        x: where it begins, like ``y``, in the units of the drawing.
        y: its top.
        width: how wide it is.
        step: of the counts' scale, from 1.
        failed: of the scale of what failed, from 1; 0: nothing did.
        address: the search for what is in it.
        title: what is in it, in words.
    """

    column: int
    row: int
    x: float
    y: float
    width: float
    step: int
    failed: int
    address: str
    title: str


@dataclass(frozen=True, slots=True)
class RowTotal:
    """How many took so long, over the whole time: in words, and the search for them."""

    label: str
    count: int
    errors: int
    address: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """The whole map, in the units of its ``viewBox``.

    Attributes:
        map: what is drawn.
        cells: those that are not empty.
        times: the labels of the time axis.
        durations: those of the axis of durations.
        totals: the rows, the longest durations first.
        row_height: of every row.
        largest: how many are in the fullest cell.
        base: the address of the search to which a box is added.
        places: for the script: where columns and rows begin, and what an address calls their ends; JSON.
    """

    map: HeatMap
    cells: tuple[Cell, ...]
    times: tuple[AxisLabel, ...]
    durations: tuple[AxisLabel, ...]
    totals: tuple[RowTotal, ...]
    row_height: float
    largest: int
    base: str
    places: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM
    steps: int = STEPS

    @property
    def errors(self) -> int:
        """How many failed."""
        return sum(cell.errors for cell in self.map.cells)


def draw(heat: HeatMap, form: SearchForm) -> Drawing | None:
    """Lay out a map: time to the right, durations upwards on a logarithmic axis; None if nothing is in it.

    Args:
        heat: the map.
        form: the search that it is of.
    """
    if not heat.cells:
        return None
    first, last = _rows(heat.cells)
    edges = heat.edges
    height = round((HEIGHT - TOP - BOTTOM) / (last - first + 1), 3)
    xs = [_x(edge, edges) for edge in edges]
    tops = [round(HEIGHT - BOTTOM - (row + 1 - first) * height, 2) for row in range(first, last + 1)]
    base = narrowed(form, roots=heat.roots).address()
    columns = [Box.of(start, end - 1, 0, None) for start, end in pairwise(edges)]
    rows = [Box.of(edges[0], edges[-1] - 1, *limits_of_row(row)) for row in range(first, last + 1)]
    # Each part of an address is written once.
    of_columns = [_given({"start": each.start, "end": each.end}) for each in columns]
    of_rows = [_given({"shortest": each.shortest, "longest": each.longest}) for each in rows]
    joined = f"{base}{'&' if '?' in base else '?'}"
    largest = max(cell.found for cell in heat.cells)
    labels = [_row_label(row) for row in range(first, last + 1)]
    times = [_time_label(edges, column) for column in range(len(columns))]
    cells = [
        Cell(
            column=cell.column,
            row=cell.row - first,
            x=xs[cell.column],
            y=tops[cell.row - first],
            width=round(xs[cell.column + 1] - xs[cell.column], 2),
            step=_step(cell.found, largest),
            failed=bisect_left(_SHARES, cell.errors / cell.found) + 1 if cell.errors else 0,
            address=f"{joined}{of_columns[cell.column]}{of_rows[cell.row - first]}".rstrip("&"),
            title=f"{_in_words(cell)}\n{labels[cell.row - first]}\n{times[cell.column]}",
        )
        for cell in heat.cells
    ]
    places = {
        "x": xs,
        "y": [*tops, round(tops[-1] - height, 2)],
        "start": [each.start for each in columns],
        "end": [each.end for each in columns],
        "shortest": [each.shortest for each in rows],
        "longest": [each.longest for each in rows],
        "times": times,
        "durations": labels,
    }
    return Drawing(
        map=heat,
        cells=tuple(cells),
        times=tuple(_times(edges)),
        durations=tuple(_durations(first, last, tops, height)),
        totals=tuple(_totals(heat.cells, joined, rows, first)),
        row_height=height,
        largest=largest,
        base=base,
        places=json.dumps(places, separators=(",", ":")),
    )


def _given(fields: dict[str, str]) -> str:
    """A part of an address, with the sign that joins it to the next one."""
    return "".join(f"{urlencode({name: value})}&" for name, value in fields.items() if value)


def _rows(cells: Sequence[HeatCell]) -> tuple[int, int]:
    """The first row and the last one that are drawn: those with something in them, and some more if these are few."""
    first, last = min(cell.row for cell in cells), max(cell.row for cell in cells)
    missing = max(0, _LEAST_ROWS - (last - first + 1))
    first = max(0, first - (missing + 1) // 2)
    return first, min(ROWS - 1, max(last, first + _LEAST_ROWS - 1))


def _x(time: int, edges: Sequence[int]) -> float:
    return round(LEFT + (time - edges[0]) / (edges[-1] - edges[0]) * (WIDTH - LEFT - RIGHT), 2)


def _step(count: int, largest: int) -> int:
    return min(STEPS, max(1, math.ceil(STEPS * math.log(count + 1) / math.log(largest + 1))))


def _in_words(cell: HeatCell) -> str:
    return f"{with_spaces(cell.found)} found" + (f", {with_spaces(cell.errors)} failed" if cell.errors else "")


def _row_label(row: int) -> str:
    shortest, longest = limits_of_row(row)
    if longest is None:
        return f"over {format_duration(shortest)}"
    return (
        f"{format_duration(shortest)}\u2013{format_duration(longest)}" if row else f"up to {format_duration(longest)}"
    )


def _time_label(edges: Sequence[int], column: int) -> str:
    start, end = edges[column], edges[column + 1]
    form = "%b %d %H:%M" if (end - start) >= 60 * _SECOND else "%b %d %H:%M:%S"
    if end - start < _SECOND:
        return f"{utc(start, '%b %d %H:%M:%S')}.{start % _SECOND:09} UTC, {format_duration(end - start)}"
    return f"{utc(start, form)}\u2013{utc(end, form)} UTC"


def _totals(cells: Sequence[HeatCell], joined: str, rows: Sequence[Box], first: int) -> list[RowTotal]:
    found = []
    for row, box in reversed(list(enumerate(rows, first))):
        inside = [cell for cell in cells if cell.row == row]
        if inside:
            count, errors = sum(cell.found for cell in inside), sum(cell.errors for cell in inside)
            found.append(RowTotal(_row_label(row), count, errors, f"{joined}{_given(box.fields())}".rstrip("&")))
    return found


def _durations(first: int, last: int, tops: Sequence[float], height: float) -> list[AxisLabel]:
    """Powers of ten at the edges of rows; where these are few, every edge or every other one."""
    # Row 0 ends at a microsecond.
    decades = [row for row in range(max(1, first), last + 1) if (row - 1) % _ROWS_OF_A_DECADE == 0]
    if len(decades) >= 3:
        return [
            AxisLabel(round(tops[row - first] + height, 1), format_duration(10 ** (3 + (row - 1) // _ROWS_OF_A_DECADE)))
            for row in decades
        ]
    some = range(max(1, first), last + 1, 2 if last - first < 2 * _LEAST_ROWS else 3)
    return [AxisLabel(round(tops[row - first] + height, 1), format_duration(limits_of_row(row)[0])) for row in some]


def _times(edges: Sequence[int]) -> list[AxisLabel]:
    start, end = edges[0], edges[-1] - 1
    return [
        AxisLabel(_x(time, edges), label)
        for time, label in _time_ticks(start, end)
        if _x(time, edges) + len(label) * _LETTER / 2 <= WIDTH
    ]


def _time_ticks(start: int, end: int) -> list[tuple[int, str]]:
    wanted = (end - start) / _TIME_TICKS
    if wanted < _SECOND // 2:
        return [(start, f"{utc(start, '%H:%M:%S')}.{start % _SECOND // 10**6:03}")]
    step = next((step for step in _TIME_STEPS if step >= wanted), _DAY * max(1, math.ceil(wanted / _DAY)))
    if step >= _DAY:
        form = "%b %d"
    elif end // _DAY != start // _DAY:
        form = "%b %d %H:%M"
    else:
        form = "%H:%M" if step >= 60 * _SECOND else "%H:%M:%S"
    return [(time, utc(time, form)) for time in range(-(-start // step) * step, end + 1, step)]
