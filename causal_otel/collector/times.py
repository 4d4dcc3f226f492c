"""Which times of a span are real. Exporters that do not know a time send 0, or a number with all bits set."""

from __future__ import annotations

__all__ = ["FIRST_TIME", "LONGEST", "is_time", "length"]

_YEAR = 366 * 86400 * 10**9
FIRST_TIME = _YEAR
"""The first Unix time in nanoseconds that may be real."""
LONGEST = _YEAR
"""Nanoseconds. If a span seems to have lasted longer, its start or its end is not a real time."""


def length(start: int, end: int) -> int:
    """Nanoseconds between two Unix times; 0 if the end is before the start or more than :data:`LONGEST` after it."""
    nanoseconds = end - start
    return nanoseconds if 0 <= nanoseconds <= LONGEST else 0


def is_time(nanoseconds: int) -> bool:
    """Whether a Unix time may be real: not in 1970, as seconds or milliseconds sent by mistake are, nor after 2262."""
    return FIRST_TIME <= nanoseconds < 1 << 63
