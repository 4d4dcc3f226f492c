"""Sums in a table: rows that are added to again and again, of which those in use are in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from causal_otel.collector.store.names import remember

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

__all__ = ["Tallies", "Tally"]


class Tally(Protocol):
    """A row's sums."""

    def row(self) -> tuple[Any, ...]:
        """The columns after the key's."""


_Tally = TypeVar("_Tally", bound=Tally)


class Tallies(Generic[_Tally]):
    """The rows of a table.

    Args:
        connection: to the file.
        table: the table's name.
        key: the names of its first columns, which are its primary key.
        values: the names of the others.
        make: makes a row's sums of the values; without any, of nothing.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        table: str,
        key: Sequence[str],
        values: Sequence[str],
        make: Callable[..., _Tally],
    ) -> None:
        marks = ", ".join("?" * (len(key) + len(values)))
        self._insert = f"INSERT OR REPLACE INTO {table} ({', '.join([*key, *values])}) VALUES ({marks})"  # noqa: S608
        where = " AND ".join(f"{column} = ?" for column in key)
        self._select = f"SELECT {', '.join(values)} FROM {table} WHERE {where}"  # noqa: S608 - our own names
        self._connection = connection
        self._make = make
        self._known: dict[tuple[int | str, ...], _Tally] = {}
        # All that is in the table is known, as long as none is forgotten.
        self._complete = connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is None  # noqa: S608
        self._touched: dict[tuple[int | str, ...], _Tally] = {}

    def touch(self, key: tuple[int | str, ...]) -> _Tally:
        """A row's sums, to be added to."""
        tally = self._touched.get(key)
        if tally is None:
            tally = self._touched[key] = self._known.get(key) or self._load(key)
        return tally

    def save(self) -> None:
        """Write those that were touched."""
        if self._touched:
            self._connection.executemany(self._insert, [(*key, *tally.row()) for key, tally in self._touched.items()])
            self._touched.clear()

    def _load(self, key: tuple[int | str, ...]) -> _Tally:
        row = None if self._complete else self._connection.execute(self._select, key).fetchone()
        tally = self._make(*row) if row else self._make()
        self._complete &= remember(self._known, key, tally)
        return tally
