"""The sums of a whole day, beside those of its hours: thirty days take thirty rows of a series to read, not 720.

Only the day's own hours are in them: a file has spans of other days as well, where a clock was wrong or a trace went on
after midnight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.collector.store.calls import Calls, EdgeOfHour
from causal_otel.collector.store.hours import WHOLE_DAY, HourOfSeries, Hours
from causal_otel.collector.store.measures import MeasureOfHour, Measures

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

__all__ = ["SUMMED", "forget", "hours_of", "sum_up"]

SUMMED = "summed"
"""In ``meta``, while a file has the sums of its day."""

_TABLES: tuple[tuple[str, tuple[str, ...], tuple[str, ...], Any], ...] = (
    ("hour", ("series",), Hours.VALUES, HourOfSeries),
    ("measure", ("series", "measured"), Measures.VALUES, MeasureOfHour),
    ("edge", ("parent", "child"), Calls.EDGE, EdgeOfHour),
)


def hours_of(day: int) -> tuple[int, int]:
    """The first and the last hour of a day."""
    return day * 24, day * 24 + 23


def sum_up(connection: sqlite3.Connection, day: int) -> Iterator[float]:
    """Write the sums of a day, a table for each step.

    Args:
        connection: to the day's file.
        day: its number.
    """
    for table, key, values, make in _TABLES:
        columns = ", ".join((*key, *values))
        sums: dict[tuple[Any, ...], Any] = {}
        rows = connection.execute(f"SELECT {columns} FROM {table} WHERE hour BETWEEN ? AND ?", hours_of(day))  # noqa: S608
        for row in rows:
            sums.setdefault(row[: len(key)], make()).merge(make(*row[len(key) :]))
        marks = ", ".join("?" * (len(key) + len(values)))
        connection.execute("BEGIN")
        connection.executemany(
            f"INSERT OR REPLACE INTO {table} (hour, {columns}) VALUES ({WHOLE_DAY}, {marks})",  # noqa: S608
            [(*each, *tally.row()) for each, tally in sums.items()],
        )
        connection.execute("COMMIT")
        yield 0.0
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, 1)", (SUMMED,))


def forget(connection: sqlite3.Connection) -> None:
    """Delete them, before something is added to the day. In a transaction."""
    for table, *_ in _TABLES:
        connection.execute(f"DELETE FROM {table} WHERE hour = ?", (WHOLE_DAY,))  # noqa: S608
    connection.execute("DELETE FROM meta WHERE key = ?", (SUMMED,))
