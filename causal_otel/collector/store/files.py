"""The day files that are open for writing."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from typing import TYPE_CHECKING

from causal_otel._internal.log import logger
from causal_otel.collector.store import days
from causal_otel.collector.store.dayfile import DayFile
from causal_otel.collector.store.tables import Damaged, is_damage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from causal_otel.collector.store.counters import Counters

__all__ = ["DayFiles"]

_LOG = logger(__name__)
_MOST_OPEN = 8


class DayFiles:
    """Opens the files of a store as they are needed. One that is damaged is set aside, and a new one begun.

    Args:
        directory: of the store.
        clock: Unix time in seconds.
        counters: where damage is noted.
    """

    def __init__(self, directory: Path, clock: Callable[[], float], counters: Counters) -> None:
        self.directory = directory
        self._clock = clock
        self._counters = counters
        self._open: OrderedDict[int, DayFile] = OrderedDict()

    def path(self, day: int) -> Path:
        """Where the day's file is, or would be."""
        return days.path_of(self.directory, day)

    def get(self, day: int) -> DayFile:
        """The day's file, made if it is not there.

        Raises:
            OSError: A damaged one cannot be set aside.
            sqlite3.Error: It cannot be read or written.
        """
        file = self._open.get(day)
        if file is None:
            try:
                file = DayFile(self.path(day))
            except Damaged as damage:
                self.set_aside(day, str(damage))
                file = DayFile(self.path(day))
            self._open[day] = file
        self._open.move_to_end(day)
        return file

    def know(self, digest: bytes, today: int) -> bool:
        """Whether a request with that digest was taken, as far as those days say that are likely to.

        Raises:
            OSError: see :meth:`get`.
            sqlite3.Error: see :meth:`get`.
        """
        likely = [
            *self._open,
            *(day for day in (today, today - 1) if day not in self._open and self.path(day).exists()),
        ]
        for day in likely:
            try:
                if self.get(day).knows(digest):
                    return True
            except sqlite3.DatabaseError as error:
                if not self.set_aside_if_damaged(day, error):
                    raise
        return False

    def release(self, day: int) -> None:
        """Close the day's file, if it is open; what is not committed is undone."""
        file = self._open.pop(day, None)
        if file is not None:
            file.close()

    def trim(self) -> None:
        """Close those that were not used for the longest time, if they are many."""
        while len(self._open) > _MOST_OPEN:
            self.release(next(iter(self._open)))

    def close(self) -> None:
        """Close all."""
        for day in list(self._open):
            self.release(day)

    def set_aside_if_damaged(self, day: int, error: Exception) -> bool:
        """Set a day's file aside if ``error`` says that it is damaged; whether it did.

        Raises:
            OSError: It cannot be renamed.
        """
        if isinstance(error, Damaged) or (isinstance(error, sqlite3.Error) and is_damage(error)):
            self.set_aside(day, str(error))
            return True
        return False

    def set_aside(self, day: int, reason: str) -> None:
        """Rename the day's file, whatever is in it.

        Raises:
            OSError: It cannot be renamed.
        """
        self.release(day)
        path = self.path(day)
        target = days.set_aside(path, reason, self._clock())
        self._counters.damaged_files += 1
        self._counters.failed(f"{path} cannot be used: {reason}; it is now {target}", self._clock())
        _LOG.error(
            "%s cannot be used: %s. It was renamed to %s and spans of its day go to a new file. What it holds is still "
            "in it: if SQLite's .recover can save it, move the outcome back while no collector runs.",
            path, reason, target,
        )  # fmt: skip
