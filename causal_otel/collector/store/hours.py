"""How the series of a day go, hour by hour: the rows of the table ``hour``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.collector.store.days import LARGEST
from causal_otel.collector.store.histogram import Histogram
from causal_otel.collector.store.tallies import Tallies

if TYPE_CHECKING:
    import sqlite3

__all__ = ["WHOLE_DAY", "HourOfSeries", "Hours"]

WHOLE_DAY = -1
"""In place of an hour: the sums of all hours of the day. A closed day has them, until more spans come to it."""


class HourOfSeries:
    """How a series went in an hour."""

    __slots__ = ("errors", "failures", "histogram", "longest", "shortest", "spans", "total")

    def __init__(
        self, spans: int = 0, errors: int = 0, shortest: int = LARGEST, longest: int = 0, total: int = 0,
        histogram: bytes = b"", failures: bytes = b"",
    ) -> None:  # fmt: skip
        self.spans = spans
        self.errors = errors
        self.shortest = shortest
        self.longest = longest
        self.total = total
        self.histogram = Histogram.decode(histogram)
        self.failures = Histogram.decode(failures)

    def add(self, duration: int, bucket: int, error: bool) -> None:
        """Count a span.

        Args:
            duration: in nanoseconds.
            bucket: where that is in a histogram.
            error: whether it has failed.
        """
        self.spans += 1
        self.total += duration
        if duration < self.shortest:
            self.shortest = duration
        if duration > self.longest:
            self.longest = duration
        counts = self.histogram.counts
        counts[bucket] = counts.get(bucket, 0) + 1
        if error:
            self.errors += 1
            self.failures.count(bucket)

    def merge(self, other: HourOfSeries) -> None:
        """Count what another has counted."""
        self.spans += other.spans
        self.errors += other.errors
        self.shortest = min(self.shortest, other.shortest)
        self.longest = max(self.longest, other.longest)
        self.total += other.total
        self.histogram.merge([other.histogram])
        self.failures.merge([other.failures])

    def row(self) -> tuple[int, int, int, int, int, bytes, bytes]:
        """The columns."""
        total = min(self.total, LARGEST)
        counts = self.histogram.encode(), self.failures.encode()
        return self.spans, self.errors, self.shortest, self.longest, total, *counts


class Hours(Tallies[HourOfSeries]):
    """The hours of a file, by the series' id and the hour.

    Args:
        connection: to the file.
    """

    VALUES = ("spans", "errors", "shortest", "longest", "total", "histogram", "failures")

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection, "hour", ("series", "hour"), self.VALUES, HourOfSeries)
