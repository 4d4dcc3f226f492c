"""The time that figures are about, and its bins: hours, or UTC days where hours would be too many, or minutes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DAY", "HOUR", "MINUTE", "Bin", "Window"]

MINUTE = 60 * 10**9
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_MOST_MINUTES = 3 * 60
"""Bins of a minute at most, for which spans themselves are read."""

_MOST_HOURS = 7 * 24 + 1
"""Bins of an hour at most, a week's and the current one. A longer time has bins of a day, which a store has ready."""

_MOST_DAYS = 366
"""Bins of a day at most: a longer time begins later."""


class Bin(NamedTuple):
    """A minute, an hour or a UTC day.

    Attributes:
        start: when it begins, Unix time in nanoseconds.
        end: when it is over.
        seconds: how much of it has passed.
        over: whether all of it has.
    """

    start: int
    end: int
    seconds: float
    over: bool


@dataclass(frozen=True)
class Window:
    """A time, from the beginning of a bin to the end of another.

    Attributes:
        start: Unix time in nanoseconds.
        end: the same; it is not part of the time.
        step: how long its bins are.
        now: what has not passed by then is not over.
        cut: whether more was asked for than there are bins, or was read.
    """

    start: int
    end: int
    step: Literal["minute", "hour", "day"]
    now: int
    cut: bool = False

    @classmethod
    def around(cls, start: int, end: int, now: int, *, minutes: bool = False) -> Window:
        """The bins that a time touches.

        Args:
            start: Unix time in nanoseconds.
            end: the same.
            now: the same.
            minutes: whether up to three hours have bins of a minute.
        """
        end = max(start, end)
        if minutes and end - start <= _MOST_MINUTES * MINUTE:
            first = start // MINUTE * MINUTE
            return cls(first, max(_round_up(end, MINUTE), first + MINUTE), "minute", now)
        step: Literal["hour", "day"] = (
            "hour" if _round_up(end, HOUR) - start // HOUR * HOUR <= _MOST_HOURS * HOUR else "day"
        )
        width = HOUR if step == "hour" else DAY
        first, last = start // width * width, max(_round_up(end, width), start // width * width + width)
        earliest = last - _MOST_DAYS * DAY
        return cls(max(first, earliest), last, step, now, cut=first < earliest)

    @classmethod
    def back(cls, lookback: int, now: int, *, minutes: bool = False) -> Window:
        """The time before ``now``, as many nanoseconds as ``lookback``, with the bin that is not over."""
        return cls.around(max(0, now - lookback), now, now, minutes=minutes)

    def since(self, moment: int) -> Window:
        """The bins of it that begin at ``moment`` or later, the last one in any case."""
        start = min(max(self.start, _round_up(moment, self.width)), self.end - self.width)
        return replace(self, start=start, cut=self.cut or start > self.start)

    def by_day(self) -> Window:
        """The UTC days that it touches."""
        return Window(self.start // DAY * DAY, _round_up(self.end, DAY), "day", self.now, self.cut)

    @property
    def last(self) -> int:
        """The last moment that is part of it, as readers of traces take it."""
        return self.end - 1

    @property
    def width(self) -> int:
        """Nanoseconds of a bin."""
        return {"minute": MINUTE, "hour": HOUR, "day": DAY}[self.step]

    @cached_property
    def bins(self) -> tuple[Bin, ...]:
        """All of them, in order."""
        return tuple(self._bins())

    def _bins(self) -> Iterator[Bin]:
        for start in range(self.start, self.end, self.width):
            end = start + self.width
            yield Bin(start, end, passed(start, end, self.now), end <= self.now)

    @property
    def seconds(self) -> float:
        """How much of it has passed."""
        return passed(self.start, self.end, self.now)


def passed(start: int, end: int, now: int) -> float:
    """Seconds of the time from ``start`` to ``end`` that have passed; of a time to come all."""
    return (min(end, now) - start if start < now else end - start) / 10**9


def _round_up(time: int, width: int) -> int:
    return -(-time // width) * width
