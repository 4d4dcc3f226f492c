"""A time that is looked at, in the few steps that a small drawing shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DAY", "HOUR", "Period"]

HOUR = 3600 * 10**9
DAY = 24 * HOUR

_LONGEST = 367 * DAY
_HOURS = 49
"""Steps of an hour at the most; a longer time has steps of a day, which are cheap to read."""


@dataclass(frozen=True, slots=True)
class Period:
    """From when to when, as Unix times in nanoseconds. Sums are to the hour: it has all of its first and last one."""

    start: int
    end: int

    @classmethod
    def checked(cls, start: int, end: int) -> Period:
        """One that somebody asks for.

        Raises:
            ValueError: It ends before it begins, or is longer than a year.
        """
        if end < start:
            raise ValueError("the end is before the start")
        if end - start > _LONGEST:
            raise ValueError("the time is longer than a year")
        return cls(start, end)

    @property
    def step(self) -> Literal["hour", "day"]:
        """How finely it is told."""
        return "hour" if self.end // HOUR - self.start // HOUR < _HOURS else "day"

    @property
    def _size(self) -> int:
        return HOUR if self.step == "hour" else DAY

    @property
    def steps(self) -> tuple[int, ...]:
        """When each step begins."""
        size = self._size
        return tuple(range(self.start // size * size, self.end // size * size + 1, size))

    @property
    def before(self) -> Period:
        """One as long that ends where this one begins, so that no hour is in both."""
        end = self.start // HOUR * HOUR - 1
        return Period(max(0, end - (self.end - self.start)), max(0, end))

    def trend(self, amounts: Iterable[tuple[int, int]]) -> tuple[int, ...]:
        """The sums of amounts in each step.

        Args:
            amounts: when the step of each begins, and how much.
        """
        size, first = self._size, self.start // self._size
        found = [0] * len(self.steps)
        for at, amount in amounts:
            found[min(max(at // size - first, 0), len(found) - 1)] += amount
        return tuple(found)
