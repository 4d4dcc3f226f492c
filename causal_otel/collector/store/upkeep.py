"""The upkeep of a store: old days are deleted, days that are over are compacted."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import TYPE_CHECKING

from causal_otel._internal.log import logger
from causal_otel.collector.store import days
from causal_otel.collector.store.compaction import SUFFIX, Busy, close_day, is_due
from causal_otel.collector.store.early_days import EarlyDays
from causal_otel.collector.store.retention import expired
from causal_otel.collector.store.tables import Damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from causal_otel.collector.store.counters import Counters
    from causal_otel.collector.store.files import DayFiles

__all__ = ["Upkeep"]

_LOG = logger(__name__)


class Upkeep:
    """The upkeep of a store, on the writer's thread.

    Args:
        files: of the store.
        counters: what was done is counted there.
        clock: Unix time in seconds.
        retention_days: see :func:`~.retention.expired`.
        max_bytes: see there.
    """

    def __init__(
        self,
        files: DayFiles,
        counters: Counters,
        clock: Callable[[], float],
        *,
        retention_days: int,
        max_bytes: int | None,
    ) -> None:
        self._files = files
        self._counters = counters
        self._clock = clock
        self._retention_days = retention_days
        self._max_bytes = max_bytes
        self._early = EarlyDays(files.directory)

    def remove_leftovers(self) -> None:
        """Delete what a compaction has left that was killed.

        Raises:
            OSError: It cannot be deleted.
        """
        for path in self._files.directory.glob(f"traces-*.db{SUFFIX}*"):
            path.unlink(missing_ok=True)

    def expire(self) -> None:
        """Delete the days that are too old or too much; what cannot be deleted is tried again next time."""
        today = days.day_of(int(self._clock() * 1e9))
        directory, counters = self._files.directory, self._counters
        try:
            found = expired(directory, today=today, retention_days=self._retention_days, max_bytes=self._max_bytes)
            for day in found.aged:
                self._delete(day)
                _LOG.info("deleted the traces of %s", days.label(day))
            for day in found.early:
                self._early.add(day)
                self._delete(day)
                counters.early_days += 1
                _LOG.warning(
                    "%s: deleted the traces of %s, %d days before their time: all days together are larger than %d "
                    "bytes; to keep them for %d days, allow more (--max-size) or sample less",
                    *(directory, days.label(day), day + self._retention_days + 1 - today),
                    *(self._max_bytes, self._retention_days),
                )
            counters.lost_seconds = self._early.still(today - self._retention_days) * days.DAY // 10**9
        except OSError as error:
            self._failed(f"{directory}: a day that is over its time cannot be deleted: {error}")
            return
        if found.excess and not counters.excess_bytes:
            _LOG.error(
                "%s: today's traces alone are %d bytes more than the whole store may have; "
                "nothing is dropped: sample less, or allow more (--max-size)",
                *(directory, found.excess),
            )
        counters.excess_bytes = found.excess

    def _delete(self, day: int) -> None:
        self._files.release(day)
        self._counters.deleted_bytes += days.remove(self._files.path(day))
        self._counters.deleted_days += 1

    def compactions(self) -> Iterator[float]:
        """Compact all days that are due, in slices; each yields the seconds that it can wait for the next."""
        for day, path in days.day_files(self._files.directory).items():
            try:
                # Others may have been deleted meanwhile.
                if path.exists() and is_due(path, day, self._clock()):
                    self._counters.compacting = days.label(day)
                    beside = [self._files.path(day - 1), self._files.path(day + 1)]
                    yield from close_day(
                        path, now=self._clock(), beside=beside, release=partial(self._files.release, day)
                    )
                    self._counters.compactions += 1
            except FileNotFoundError:
                continue
            except Damaged as damage:
                self._set_aside(day, str(damage))
            except (Busy, OSError, ValueError, sqlite3.Error) as error:
                self._failed(f"{path} cannot be compacted and stays as it is: {error}")
            finally:
                self._counters.compacting = ""
            yield 0.0

    def _set_aside(self, day: int, reason: str) -> None:
        try:
            self._files.set_aside(day, reason)
        except OSError as error:
            self._failed(f"{self._files.path(day)} is damaged ({reason}) and cannot be renamed: {error}")

    def _failed(self, message: str) -> None:
        self._counters.failed(message, self._clock())
        _LOG.error("%s", message)
