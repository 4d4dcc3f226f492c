"""The ids that a day file gives to resources, scopes and series."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from causal_otel.collector.systems import BoundedSystems

if TYPE_CHECKING:
    import sqlite3

    from causal_otel.collector.store.series import Series

__all__ = ["Names", "remember"]

_REMEMBERED = 1 << 15
_VERSIONS = 20
"""Versions of a service that a day tells apart: it may have one for every build."""
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def remember(known: dict[_Key, _Value], key: _Key, value: _Value) -> bool:
    """Put a value into a cache, which is emptied first if it is full: what is in use comes back.

    Returns:
        Whether there was room for it.
    """
    has_room = len(known) < _REMEMBERED
    if not has_room:
        known.clear()
    known[key] = value
    return has_room


class Names:
    """The ids of resources, scopes and series in a file.

    Args:
        connection: to the file; new ids belong to its transaction.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._resources: dict[bytes, int] = {}
        self._scopes: dict[bytes, int] = {}
        self._series: dict[Series, int] = {}
        self.known_series = self._series.get
        self._systems = BoundedSystems(connection.execute("SELECT DISTINCT service, system FROM series"))
        self._versions = BoundedSystems(connection.execute("SELECT DISTINCT service, version FROM series"), _VERSIONS)

    def resource(self, body: bytes) -> int:
        """The id of a resource, a new one if need be."""
        return self._resources.get(body) or self._body("resource", self._resources, body)

    def scope(self, body: bytes) -> int:
        """The id of a scope, a new one if need be."""
        return self._scopes.get(body) or self._body("scope", self._scopes, body)

    def series(self, series: Series) -> int:
        """The id of a series, a new one if need be."""
        known = self._series.get(series)
        if known is None:
            service, operation, kind, system, version, root = series.key
            system, version = self._systems.bounded(service, system), self._versions.bounded(service, version)
            row = service, operation, kind, system, version, root
            self._connection.execute(
                "INSERT OR IGNORE INTO series (service, operation, kind, system, version, root)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )
            (known,) = self._connection.execute(
                "SELECT id FROM series WHERE (service, operation, kind, system, version, root) = (?, ?, ?, ?, ?, ?)",
                row,
            ).fetchone()
            remember(self._series, series, known)
        return known

    def _body(self, table: str, known: dict[bytes, int], body: bytes) -> int:
        self._connection.execute(f"INSERT OR IGNORE INTO {table} (body) VALUES (?)", (body,))  # noqa: S608
        (found,) = self._connection.execute(f"SELECT id FROM {table} WHERE body = ?", (body,)).fetchone()  # noqa: S608
        remember(known, body, found)
        return int(found)
