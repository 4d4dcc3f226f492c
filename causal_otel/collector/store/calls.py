"""Who called whom: from spans whose parent is known. The tables ``call`` and ``edge``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.collector.store.days import LARGEST
from causal_otel.collector.store.histogram import Histogram
from causal_otel.collector.store.recently import Recently
from causal_otel.collector.store.tallies import Tallies

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from causal_otel.collector.store.incoming import Observation, Piece
    from causal_otel.collector.store.names import Names
    from causal_otel.collector.store.series import Series

__all__ = ["Call", "Calls", "EdgeOfHour", "RecentSpans", "SomeCalls", "calls_of"]

Call = tuple[int, "Series", "Series"]
"""The hour in which the child starts, the parent's series and the child's."""


class SomeCalls:
    """How often a series was called by another, and how long that took."""

    __slots__ = ("calls", "errors", "histogram", "total")

    def __init__(self, calls: int = 0, errors: int = 0, total: int = 0) -> None:
        self.calls = calls
        self.errors = errors
        self.total = total
        self.histogram: dict[int, int] = {}
        """The durations' buckets, as long as they are on their way to an edge."""

    def merge(self, other: SomeCalls) -> None:
        """Count what another has counted, but for the buckets."""
        self.calls += other.calls
        self.errors += other.errors
        self.total += other.total

    def row(self) -> tuple[int, int, int]:
        """The columns."""
        return self.calls, self.errors, min(self.total, LARGEST)


class EdgeOfHour:
    """How often a service was called by another in an hour, and how long that took."""

    __slots__ = ("calls", "errors", "histogram", "total")

    def __init__(self, calls: int = 0, errors: int = 0, total: int = 0, histogram: bytes = b"") -> None:
        self.calls = calls
        self.errors = errors
        self.total = total
        self.histogram = Histogram.decode(histogram)

    def merge(self, other: EdgeOfHour | SomeCalls) -> None:
        """Count what another has counted."""
        self.calls += other.calls
        self.errors += other.errors
        self.total += other.total
        counted = other.histogram
        self.histogram.merge([counted if isinstance(counted, Histogram) else Histogram(counted)])

    def row(self) -> tuple[int, int, int, bytes]:
        """The columns."""
        return self.calls, self.errors, min(self.total, LARGEST), self.histogram.encode()


class Calls:
    """The calls of a file.

    Args:
        connection: to the file.
        names: of the file.
    """

    CALL = ("calls", "errors", "total")
    EDGE = (*CALL, "histogram")

    def __init__(self, connection: sqlite3.Connection, names: Names) -> None:
        self._names = names
        self._calls = Tallies(connection, "call", ("parent", "child"), self.CALL, SomeCalls)
        self._edges = Tallies(connection, "edge", ("hour", "parent", "child"), self.EDGE, EdgeOfHour)

    def add(self, found: Mapping[Call, SomeCalls]) -> None:
        """Count calls, to be saved before the transaction ends."""
        series = self._names.series
        for (hour, parent, child), counted in found.items():
            ids = series(parent), series(child)
            self._calls.touch(ids).merge(counted)
            if parent.service != child.service:
                self._edges.touch((hour, parent.service, child.service)).merge(counted)

    def save(self) -> None:
        """Write what was counted."""
        self._calls.save()
        self._edges.save()


def calls_of(observations: Iterable[Observation], parents: Mapping[bytes, Series]) -> dict[Call, SomeCalls]:
    """The calls that spans of a trace are.

    Args:
        observations: the spans.
        parents: the series of the trace's spans by their ids.
    """
    found: dict[Call, SomeCalls] = {}
    for each in observations:
        if (parent := parents.get(each.parent_id)) is not None:
            _count(found, parent, each)
    return found


class RecentSpans:
    """Finds the calls among spans as they come, parents before their children or after them.

    Those whose parent came too long ago are found when the day is compacted.

    Args:
        size: how many spans to remember, and how many that wait for their parent, at the least.
    """

    def __init__(self, size: int = 50_000) -> None:
        self._series: Recently[Series] = Recently(size)
        self._orphans: Recently[list[tuple[int, Observation]]] = Recently(size)

    def add(self, day: int, pieces: Iterable[Piece], found: dict[int, dict[Call, SomeCalls]]) -> None:
        """Count the calls that become known by ``pieces``.

        Args:
            day: the day whose file the pieces are for.
            pieces: the spans.
            found: where to count them, by the day whose file the child is in.
        """
        of_day = found.setdefault(day, {})
        for piece in pieces:
            trace_id = piece.trace_id
            for each in piece.observations:
                key = trace_id + each.span_id
                self._series.put(key, each.series)
                if each.parent_id:
                    parent_key = trace_id + each.parent_id
                    parent = self._series.get(parent_key)
                    if parent is None:
                        self._wait(parent_key, day, each)
                    else:
                        _count(of_day, parent, each)
                for child_day, child in self._orphans.pop(key) or ():
                    _count(found.setdefault(child_day, {}), each.series, child)

    def _wait(self, parent: bytes, day: int, child: Observation) -> None:
        waiting = self._orphans.get(parent)
        if waiting is None:
            self._orphans.put(parent, [(day, child)])
        elif len(waiting) < 1000:  # one parent's children shall not take all the memory
            waiting.append((day, child))


def _count(found: dict[Call, SomeCalls], parent: Series, child: Observation) -> None:
    call = child.hour, parent, child.series
    counted = found.get(call)
    if counted is None:
        counted = found[call] = SomeCalls()
    counted.calls += 1
    counted.errors += child.error
    counted.total += child.duration
    bucket, counts = child.bucket, counted.histogram
    counts[bucket] = counts.get(bucket, 0) + 1
