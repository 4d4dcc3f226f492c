"""The files of a store: a day's name, where it is, and what is put beside it.

What the table ``meta`` of a day file says, by key:

* ``state``: ``open``, or ``closed`` once the day was compacted.
* ``closed_chunks``: the highest id of a chunk that ``posting`` covers; 0 in an open file. Chunks above it came late and
  are in ``tag``.
* ``slot_bits``: see :func:`~causal_otel.collector.store.schema.slot`; only in a closed file.
* ``dictionary``: what chunks are compressed with, each with a part of it; in an open file it may grow at its end.
* ``closed_at``: when it was compacted, Unix time in seconds; only in a closed file.
* ``log_...``: see :mod:`~causal_otel.collector.store.log_tables`.
* ``trial``: when it was last tried whether the file could be written to after it could not, Unix time in seconds.
"""

from __future__ import annotations

import datetime
import re
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "DAY",
    "HOUR",
    "LARGEST",
    "damaged",
    "day_files",
    "day_named",
    "day_of",
    "hour_of",
    "label",
    "midnight",
    "path_of",
    "remove",
    "set_aside",
    "size_of",
]

HOUR = 3600 * 10**9
"""Nanoseconds."""
DAY = 24 * HOUR
"""Nanoseconds."""
LARGEST = (1 << 63) - 1
"""The largest integer SQLite holds: times and durations beyond it are kept as it in the tables, never in a chunk."""

_EPOCH = datetime.date(1970, 1, 1)
_NAME = re.compile(r"traces-(\d{4})(\d\d)(\d\d)\.db")
_DAMAGED = ".damaged-"
_REASON = ".reason"
_COMPANIONS = ("-wal", "-shm", "-journal")


def day_of(nanoseconds: int) -> int:
    """The UTC day of a Unix time, counted from 1970-01-01."""
    return nanoseconds // DAY


def hour_of(nanoseconds: int) -> int:
    """The hour of a Unix time, counted from 1970-01-01, as in the tables ``hour`` and ``edge``."""
    return nanoseconds // HOUR


def label(day: int) -> str:
    """A day as in ``2026-11-22``."""
    return (_EPOCH + datetime.timedelta(days=day)).isoformat()


def day_named(label: str) -> int:
    """The day that :func:`label` writes so.

    Raises:
        ValueError: It is no day.
    """
    return (datetime.date.fromisoformat(label) - _EPOCH).days


def midnight(label: str) -> int:
    """When the day that :func:`label` writes so begins, Unix time in seconds."""
    return day_named(label) * (DAY // 10**9)


def path_of(directory: Path, day: int) -> Path:
    """Where the day's file is, or would be."""
    return directory / f"traces-{label(day).replace('-', '')}.db"


def day_files(directory: Path) -> dict[int, Path]:
    """The day files that are there, oldest day first; none if there is no such directory."""
    found = {}
    for path in directory.glob("traces-*.db"):
        with suppress(ValueError):  # somebody else's file
            found[day_of_file(path)] = path
    return dict(sorted(found.items()))


def day_of_file(path: Path) -> int:
    """The day that a file is of, by its name.

    Raises:
        ValueError: It is no day file's name.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path.name} is no name of a day file")
    year, month, day = map(int, match.groups())
    return (datetime.date(year, month, day) - _EPOCH).days


def size_of(path: Path) -> int:
    """Bytes of a day file with what SQLite keeps beside it."""
    total = 0
    for name in (path.name, *(path.name + suffix for suffix in _COMPANIONS)):
        try:
            total += path.with_name(name).stat().st_size
        except FileNotFoundError:
            continue
    return total


def remove(path: Path) -> int:
    """Delete a day file and what is beside it; returns the bytes that it had.

    Raises:
        OSError: It cannot be deleted.
    """
    size = size_of(path)
    for suffix in ("", *_COMPANIONS):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return size


def set_aside(path: Path, reason: str, now: float) -> Path:
    """Rename a file that cannot be used, so that nothing in it is lost, and note the reason beside it.

    Args:
        path: the day file.
        reason: for people.
        now: Unix time in seconds.

    Returns:
        Its new name.

    Raises:
        OSError: It cannot be renamed.
    """
    stamp = datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y%m%dT%H%M%S")
    target, number = path.with_name(f"{path.name}{_DAMAGED}{stamp}"), 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}{_DAMAGED}{stamp}-{number}")
    path.rename(target)
    for suffix in _COMPANIONS:
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(target.with_name(target.name + suffix))
    target.with_name(target.name + _REASON).write_text(reason + "\n")
    return target


def damaged(directory: Path) -> tuple[tuple[str, str], ...]:
    """The files that were set aside, each with the reason."""
    found = []
    for path in sorted(directory.glob(f"traces-*.db{_DAMAGED}*")):
        if path.name.endswith((_REASON, *_COMPANIONS)):
            continue
        try:
            reason = path.with_name(path.name + _REASON).read_text().strip()
        except OSError:
            reason = "it could not be read"
        found.append((str(path), reason))
    return tuple(found)
