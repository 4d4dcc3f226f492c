"""Durations and times as people write and read them, and the ticks of a time axis. All are integers, nanoseconds."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from causal_otel._internal.durations import format_duration

__all__ = [
    "Tick",
    "clock",
    "format_duration",
    "moment",
    "parse_duration",
    "rate",
    "ticks",
    "written_duration",
    "written_moment",
]

_SIZES = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}
_SIZES |= {"µs": 10**3, "μs": 10**3, "min": 60 * 10**9}
_PART = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*([a-zµμ]+)\s*")
_WRITTEN = (("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1))
_NANOSECONDS = re.compile(r"(.*T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6})([0-9]{1,3})([^0-9].*|)", re.ASCII)
_RATES = (("s", 1), ("min", 60), ("h", 3600), ("d", 86400))
_LONGEST = 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Tick(NamedTuple):
    """A mark on a time axis: nanoseconds from its start, and what stands there."""

    at: int
    label: str


def clock(nanoseconds: int) -> str:
    """The time of day of a Unix time in nanoseconds, in UTC to the millisecond: ``14:30:05.123``."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{time.strftime('%H:%M:%S', time.gmtime(seconds))}.{rest // 10**6:03}"


def parse_duration(text: str) -> int:
    """The nanoseconds of a duration such as ``1.2s``, ``100ms``, ``500us``, ``2 µs``, ``30d`` or ``1h30m``.

    Raises:
        ValueError: It is no such thing, or longer than 292 years.
    """
    written = text.strip().lower()
    position, total = 0, Decimal(0)
    while match := _PART.match(written, position):
        number, unit = match.groups()
        if unit not in _SIZES:
            break
        total += Decimal(number) * _SIZES[unit]
        position = match.end()
    if not written or position < len(written):
        raise ValueError(f"{text[:40]!r} is not a duration: write a number and a unit, as in 500us, 100ms, 1.2s or 1h")
    if total > _LONGEST:
        raise ValueError(f"{text[:40]!r} is too long a duration")
    return int(total)


def moment(text: str) -> int:
    """Read a time such as ``2026-11-22T14:30`` (ISO 8601; UTC unless it says otherwise) as Unix nanoseconds.

    Raises:
        ValueError: It is none.
    """
    try:
        # Python's times have microseconds.
        match = _NANOSECONDS.fullmatch(text)
        read = datetime.fromisoformat(match[1] + match[3] if match else text)
        read = read if read.tzinfo else read.replace(tzinfo=UTC)
        since = (read - _EPOCH) // timedelta(microseconds=1) * 1000 + (int(match[2].ljust(3, "0")) if match else 0)
    except (ValueError, OverflowError):
        raise ValueError("write the time in UTC, as in 2026-11-22T14:30") from None
    if not 0 <= since < 1 << 63:
        raise ValueError("the time must be between 1970 and 2262")
    return since


def written_moment(nanoseconds: int) -> str:
    """The text that :func:`moment` reads as this Unix time, up to the nanosecond; no longer than need be."""
    seconds, rest = divmod(nanoseconds, 10**9)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").removesuffix("" if rest else ":00")
    return f"{text}.{rest:09}".rstrip("0") if rest else text


def written_duration(nanoseconds: int) -> str:
    """The text that :func:`parse_duration` reads as exactly so many nanoseconds: ``1.562us``."""
    unit, size = next((unit, size) for unit, size in _WRITTEN if nanoseconds >= size or size == 1)
    return f"{Decimal(nanoseconds) / size:f}{unit}"


def rate(calls: int, seconds: float) -> str:
    """So many calls in ``seconds`` as a rate: in a second if there is one in each, else in a minute, hour or day."""
    for unit, length in _RATES:
        value = calls * length / seconds
        if value >= 0.995:
            return f"{value:.2g}/{unit}" if value < 9.95 else f"{value:,.0f}/{unit}".replace(",", "\u202f")
    return "<1/d" if calls else "0/h"


def ticks(total: int, most: int = 6, *, begin: int = 0) -> list[Tick]:
    """Evenly spaced marks from 0 to at most ``total`` nanoseconds, a step of 1, 2 or 5 times a power of ten apart.

    From a minute on, steps are those of a clock.

    Args:
        total: the axis's length.
        most: how many marks at most, 0 included; at least 2.
        begin: where the axis begins, if not at 0: the marks are multiples of the step, and say how far from 0 they are.
    """
    step = _step(max(1, total), max(2, most) - 1)
    first = -(-begin // step) * step
    return [Tick(at, _label(at, step)) for at in range(first, begin + max(0, total) + 1, step)]


def _label(at: int, step: int) -> str:
    """The duration; with as many digits as it takes to tell it from that of the next mark."""
    if not at:
        return "0"
    if at < 100 * step:
        return format_duration(at)
    for size, unit in ((10**9, "s"), (10**6, "ms"), (10**3, "µs")):
        if at >= size:
            return f"{Decimal(at) / size:f} {unit}"
    return f"{at} ns"


def _step(total: int, intervals: int) -> int:
    least = -(-total // intervals)
    for seconds in (60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400):
        if least > 50 * 10**9 and least <= seconds * 10**9:
            return seconds * 10**9
    unit = 86400 * 10**9 if least > 86400 * 10**9 else 1
    least = -(-least // unit)
    power: int = 10 ** (len(str(least)) - 1)
    return next(factor * power * unit for factor in (1, 2, 5, 10) if factor * power >= least)
