"""Which day files to delete: those that are too old, then the oldest ones until the rest is small enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from causal_otel.collector.store import days

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Expired", "expired"]


class Expired(NamedTuple):
    """What is to be deleted.

    Attributes:
        aged: days that are over their time, oldest first, by their number.
        early: days that are not, but are too much, oldest first.
        excess: bytes by which what is left is still too large: today's file alone is.
    """

    aged: tuple[int, ...]
    early: tuple[int, ...]
    excess: int


def expired(directory: Path, *, today: int, retention_days: int, max_bytes: int | None) -> Expired:
    """What is to be deleted in ``directory``.

    Args:
        directory: of the store.
        today: the number of the current day, see :func:`~.days.day_of`. Its file and later ones always stay.
        retention_days: whole days to keep besides it.
        max_bytes: that all files may take together; None: any.
    """
    sizes = {day: days.size_of(path) for day, path in days.day_files(directory).items()}
    aged = tuple(day for day in sizes if day < today - retention_days)
    if max_bytes is None:
        return Expired(aged, (), 0)
    early = []
    left = list(sizes)[len(aged) :]
    total = sum(sizes[day] for day in left)
    for day in left:
        if total <= max_bytes or day >= today:
            break
        early.append(day)
        total -= sizes[day]
    return Expired(aged, tuple(early), max(0, total - max_bytes))
