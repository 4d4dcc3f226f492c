"""The day files as a reader sees them: they come, are replaced and go while it reads, in another process."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from causal_otel.collector.store import days
from causal_otel.collector.store.day_reading import DayReading, OtherVersion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Deadline", "OpenDay", "OpenDays", "OutOfTime", "Skipped"]

_IDLE = 2
"""Connections kept for each file: more are opened when more threads ask, and closed afterwards."""
_STEPS = 5000
"""SQLite's steps between two looks at the clock: well below a millisecond."""

_Identity = tuple[int, int]


class Skipped(Exception):
    """A day file is not there any more, or cannot be read: do without it."""


class OutOfTime(Exception):
    """The deadline has passed."""


class Deadline:
    """A time by which to stop.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def extend(self, seconds: float) -> None:
        """Set it so much later."""
        self._end += seconds

    def left(self) -> float:
        """The seconds until then."""
        return self._end - time.monotonic()

    def passed(self) -> bool:
        """Whether it is over."""
        return time.monotonic() >= self._end

    def check(self) -> None:
        """Raise :class:`OutOfTime` if it is over."""
        if self.passed():
            raise OutOfTime


class OpenDay:
    """A day file and connections to it.

    Args:
        day: counted from 1970-01-01.
        path: where it is.
        identity: its device and inode. They are no other file's as long as a connection is open.
    """

    def __init__(self, day: int, path: Path, identity: _Identity) -> None:
        self.day = day
        self.path = path
        self.identity = identity
        self._damage = ""
        self._obstacle = ""
        self._lock = threading.Lock()
        self._idle: list[DayReading] = []
        self._retired = False

    @property
    def fault(self) -> str:
        """Why it could not be read the last time, or what was ever found to be wrong with it."""
        return self._obstacle or self._damage

    @contextmanager
    def reading(self, deadline: Deadline | None = None) -> Iterator[DayReading]:
        """A connection on which everything is of one state of the file.

        Args:
            deadline: when to break off a statement.

        Raises:
            Skipped: The file cannot be read, or a statement in the block could not read it.
            OutOfTime: A statement in the block was broken off.
        """
        with self.failing():
            reading = self._borrow()
            try:
                if deadline is not None:
                    reading.connection.set_progress_handler(deadline.passed, _STEPS)
                reading.execute("BEGIN")
                yield reading
                self._obstacle = ""
            finally:
                self._give_back(reading)

    @contextmanager
    def failing(self) -> Iterator[None]:
        """What statements raise in the block becomes what :meth:`reading` raises, and is noted."""
        try:
            yield
        except OtherVersion as error:
            self._obstacle = str(error)
            raise Skipped(str(self.path)) from None
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code == sqlite3.SQLITE_INTERRUPT:
                raise OutOfTime from None
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                self._damage = f"SQLite says: {error}"
            elif self.path.exists():
                self._obstacle = f"SQLite says: {error}"
            self._close_idle()
            raise Skipped(str(self.path)) from error

    def _borrow(self) -> DayReading:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        try:
            return DayReading(uri)
        except sqlite3.OperationalError as error:
            # SQLite needs its companions to read a file in WAL mode. Where they are missing and cannot be made, as on
            # a read-only disk, nobody writes either.
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
            if not self.path.exists() or self.path.with_name(self.path.name + "-wal").exists():
                raise
            return DayReading(f"{uri}&immutable=1")

    def _give_back(self, reading: DayReading) -> None:
        if reading.fault:
            self._damage, reading.fault = reading.fault, ""
        reading.connection.set_progress_handler(None, 0)
        if reading.connection.in_transaction:
            reading.execute("ROLLBACK")
        with self._lock:
            if not self._retired and len(self._idle) < _IDLE:
                self._idle.append(reading)
                return
        reading.close()

    def _close_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for reading in idle:
            reading.close()

    def retire(self) -> None:
        """Close all connections, those in use as soon as they are given back."""
        self._retired = True
        self._close_idle()


class OpenDays:
    """The day files of a directory.

    Args:
        directory: need not be there.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = threading.Lock()
        self._days: dict[int, OpenDay] = {}

    def present(self) -> list[OpenDay]:
        """Those that are there now, newest first."""
        with self._lock:
            found = {}
            for day, path in days.day_files(self.directory).items():
                try:
                    status = path.stat()
                except OSError:
                    continue
                identity = (status.st_dev, status.st_ino)
                known = self._days.pop(day, None)
                if known is not None and known.identity != identity:
                    known.retire()
                    known = None
                found[day] = known or OpenDay(day, path, identity)
            for gone in self._days.values():
                gone.retire()
            self._days = found
            return list(reversed(found.values()))

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for day in self._days.values():
                day.retire()
            self._days = {}
