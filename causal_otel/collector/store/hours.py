"""How the series of a day go, hour by hour: the rows of the table ``hour``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.collector.store.days import LARGEST
from causal_otel.collector.store.histogram import Histogram
from causal_otel.collector.store.names import remember

if TYPE_CHECKING:
    import sqlite3

__all__ = ["HourOfSeries", "Hours"]


class HourOfSeries:
    """How a series went in an hour."""

    __slots__ = ("errors", "histogram", "longest", "shortest", "spans", "total")

    def __init__(
        self, spans: int = 0, errors: int = 0, shortest: int = LARGEST, longest: int = 0, total: int = 0,
        histogram: bytes = b"",
    ) -> None:  # fmt: skip
        self.spans = spans
        self.errors = errors
        self.shortest = shortest
        self.longest = longest
        self.total = total
        self.histogram = Histogram.decode(histogram)

    def add(self, duration: int, error: bool) -> None:
        """Count a span."""
        self.spans += 1
        self.errors += error
        self.total += duration
        if duration < self.shortest:
            self.shortest = duration
        if duration > self.longest:
            self.longest = duration
        self.histogram.add(duration)

    def row(self) -> tuple[int, int, int, int, int, bytes]:
        """The columns."""
        total = min(self.total, LARGEST)
        return self.spans, self.errors, self.shortest, self.longest, total, self.histogram.encode()


class Hours:
    """The hours of a file, those in use in memory.

    Args:
        connection: to the file.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[int, int], HourOfSeries] = {}
        self._touched: dict[tuple[int, int], HourOfSeries] = {}

    def touch(self, key: tuple[int, int]) -> HourOfSeries:
        """An hour of a series, by the series' id and the hour, to be added to."""
        hour = self._touched.get(key)
        if hour is None:
            hour = self._touched[key] = self._known.get(key) or self._load(key)
        return hour

    def save(self) -> None:
        """Write those that were touched."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO hour VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(*key, *hour.row()) for key, hour in self._touched.items()],
        )
        self._touched.clear()

    def _load(self, key: tuple[int, int]) -> HourOfSeries:
        row = self._connection.execute(
            "SELECT spans, errors, shortest, longest, total, histogram FROM hour WHERE (series, hour) = (?, ?)", key
        ).fetchone()
        hour = HourOfSeries(*row) if row else HourOfSeries()
        remember(self._known, key, hour)
        return hour
