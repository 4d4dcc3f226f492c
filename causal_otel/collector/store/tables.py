"""Connections to day files for writing: made, checked, and told from damaged ones."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

from causal_otel.collector.store.schema import SCHEMA_VERSION, TABLES

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Damaged", "connect", "is_damage"]

_PAGE_BYTES = 8192
_CACHE_KIB = 16 * 1024
_CHECKPOINT_PAGES = 4096
"""Pages in the write-ahead log before they are moved to the file: more means fewer moves of the same ones."""
_PRAGMAS = (
    f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -{_CACHE_KIB};"
    f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}"
)
_BUSY_SECONDS = 5.0
_OPEN = "INSERT INTO meta VALUES ('state', 'open'), ('closed_chunks', 0)"


class Damaged(Exception):
    """The file is no day file that can be used."""


def _create(path: Path) -> sqlite3.Connection:
    """A connection to a new file with the tables of a day.

    Raises:
        sqlite3.Error: It cannot be written.
    """
    try:  # made beforehand, for SQLite would let others read it; what lies beside it gets the same mode
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise sqlite3.OperationalError(str(error)) from error
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.executescript(
            f"PRAGMA page_size = {_PAGE_BYTES}; {_PRAGMAS}; BEGIN; {TABLES}; {_OPEN};"
            f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT"
        )
    except BaseException:
        connection.close()
        raise
    return connection


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the day file, made if it is not there.

    Raises:
        Damaged: It is not a database, or one of another version.
        sqlite3.Error: It cannot be read or written.
    """
    if not path.exists() or not path.stat().st_size:
        return _create(path)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if not tables and not version:  # killed while it was made
            connection.close()
            return _create(path)
        if version != SCHEMA_VERSION:
            raise Damaged(f"its version is {version}, this program reads version {SCHEMA_VERSION}")
        connection.executescript(_PRAGMAS)
        connection.execute("SELECT value FROM meta").fetchall()
    except sqlite3.DatabaseError as error:
        connection.close()
        if is_damage(error):
            raise Damaged(f"SQLite says: {error}") from None
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite complains about what is in the file."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
