"""What the heat map of durations over time is made of: its columns, its rows, and what is counted in a cell.

Rows are five a decade, from a microsecond to 100 seconds. Each is some whole buckets of a histogram of durations, so it
is exactly a pair of the shortest and the longest duration that a search can ask for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from causal_otel.collector.expressions import Field, whole
from causal_otel.collector.store.histogram import BOUNDS, bucket

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from causal_otel.collector.query import Query

__all__ = [
    "COLUMNS",
    "ROOT",
    "ROWS",
    "HeatCell",
    "HeatMap",
    "Marks",
    "asked_time",
    "buckets_within",
    "column_edges",
    "limits_of_row",
    "row_of",
    "row_of_bucket",
    "with_roots",
]

COLUMNS = 60
"""At most, unless the first and the last one are cut by the time asked for."""

_SECOND = 10**9
_HOUR = 3600 * _SECOND
_DAY = 24 * _HOUR
_LARGEST = 2**63 - 1
_CLOCK = tuple(
    seconds * _SECOND
    for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
)
_DECADES = range(3, 11)
"""From 10**3 nanoseconds to 10**11."""


ROOT = Field("root", "=", "true")
"""What is counted if a search asks for nothing but a time: else every trace would be counted many times."""


def with_roots(query: Query) -> tuple[Query, bool]:
    """A query as it is counted, and whether that is for spans without a parent, as it asks for nothing."""
    if whole(query) is None and not query.logs:
        return replace(query, where=ROOT), True
    return query, False


def asked_time(query: Query, hours: tuple[int, int] | None) -> tuple[int, int]:
    """The time of the map of a query: its first and its last nanosecond, Unix time.

    Args:
        query: which one. Without a start, the map begins with the first hour that has spans; likewise without an end.
        hours: the first hour and the last one in which spans start; None: there are none.
    """
    first, last = (query.start // _HOUR, query.start // _HOUR) if hours is None else hours
    start = first * _HOUR if query.start <= 0 else query.start
    end = (last + 1) * _HOUR - 1 if query.end >= _LARGEST else query.end
    return min(start, end), end


def _rows() -> tuple[int, ...]:
    wanted = [10 ** (decade + step / 5) for decade in _DECADES for step in range(5)] + [10.0**_DECADES.stop]
    # The bucket whose bound is the nearest.
    return tuple(min(range(len(BOUNDS)), key=lambda index: abs(BOUNDS[index] - each)) for each in wanted)


_LAST_BUCKETS = _rows()
_LONGEST = tuple(BOUNDS[index] for index in _LAST_BUCKETS)
ROWS = len(_LAST_BUCKETS) + 1
"""The first one has all up to a microsecond, the last one all from 100 seconds on."""


def row_of_bucket(index: int) -> int:
    """The row that a bucket of :data:`~causal_otel.collector.store.histogram.BOUNDS` is in."""
    return bisect_left(_LAST_BUCKETS, index)


def row_of(duration: int) -> int:
    """The row of a duration in nanoseconds."""
    return bisect_left(_LONGEST, duration)


def limits_of_row(row: int) -> tuple[int, int | None]:
    """The shortest and the longest duration of a row, in nanoseconds; None: there is no longest."""
    return _LONGEST[row - 1] + 1 if row else 0, _LONGEST[row] if row < len(_LONGEST) else None


def buckets_within(shortest: int, longest: int) -> range:
    """The buckets of a histogram that have durations from ``shortest`` to ``longest`` nanoseconds."""
    return range(bucket(shortest), bucket(longest) + 1)


def column_edges(start: int, end: int, columns: int, *, whole: int = 0) -> tuple[int, ...]:
    """When columns begin, and after the last of them when it ends. They are as wide as a step of a clock.

    Args:
        start: Unix time in nanoseconds, the first that is asked for.
        end: the last.
        columns: how many there are at most, not counting those that are cut at the ends.
        whole: columns are so many nanoseconds wide, or a multiple, and not cut at the ends; 0: any width will do.
    """
    width = max(whole, _width((end - start) / columns))
    edges = range(start // width * width, (end // width + 1) * width + 1, width)
    return tuple(edges) if whole else (start, *edges[1:-1], end + 1)


def _width(least: float) -> int:
    if least > _CLOCK[-1]:
        return -int(-least // _DAY) * _DAY
    if least > _SECOND // 2:
        return next(width for width in _CLOCK if width >= least)
    sizes: Iterator[int] = (factor * int(10**power) for power in range(10) for factor in (1, 2, 5))
    return next(size for size in sizes if size >= least)


class HeatCell(NamedTuple):
    """A cell of a :class:`HeatMap`: its column and its row, how many are in it, and how many of these failed."""

    column: int
    row: int
    found: int
    errors: int


@dataclass(frozen=True, slots=True)
class HeatMap:
    """How many of the spans that satisfy a query took how long, over time.

    Attributes:
        edges: when columns begin, Unix time in nanoseconds, and after the last one when it ends, which is not in it.
        cells: those that are not empty, by column, then by row.
        roots: whether the query asks for nothing but a time, so that only spans without a parent are counted.
        since: if time did not suffice for all, those that start at this Unix time in nanoseconds or later were counted,
            of others at most some; None: all.
    """

    edges: tuple[int, ...]
    cells: tuple[HeatCell, ...]
    roots: bool = False
    since: int | None = None

    @property
    def complete(self) -> bool:
        """Whether all were counted."""
        return self.since is None

    @property
    def count(self) -> int:
        """How many were counted."""
        return sum(cell.found for cell in self.cells)


class Marks:
    """Counts marks in the cells of a map.

    Args:
        edges: of the columns.
    """

    def __init__(self, edges: Sequence[int]) -> None:
        self._edges = tuple(edges)
        self._later = self._edges[1:-1]
        """Those of all columns but the first."""
        self._counts: dict[tuple[int, int], list[int]] = {}

    def add(self, start: int, duration: int, error: bool) -> None:
        """Count a mark by when it starts, Unix time in nanoseconds, and how long it took."""
        self.add_to(self.column(start), row_of(duration), 1, int(error))

    def column(self, start: int) -> int:
        """The column that a time is in; those before the first one and after the last one are in these."""
        return bisect_right(self._later, start)

    def add_to(self, column: int, row: int, count: int, errors: int) -> None:
        """Count several marks of a cell."""
        cell = self._counts.setdefault((column, row), [0, 0])
        cell[0] += count
        cell[1] += errors

    @property
    def width(self) -> int:
        """The nanoseconds of the widest column."""
        return max(after - at for at, after in pairwise(self._edges))

    def map(self, *, roots: bool, since: int | None) -> HeatMap:
        """The map of what was counted; the arguments are as in :class:`HeatMap`."""
        cells = (HeatCell(*place, *counts) for place, counts in sorted(self._counts.items()))
        return HeatMap(self._edges, tuple(each for each in cells if each.found), roots, since)
