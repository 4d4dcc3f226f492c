"""Which of a span's times can be meant: exporters send 0, or all ones, for a time that they do not know."""

from __future__ import annotations

__all__ = ["LONGEST", "is_time", "length"]

_YEAR = 366 * 86400 * 10**9
LONGEST = _YEAR
"""Nanoseconds. What would have taken longer has a start or an end that was not meant."""


def length(start: int, end: int) -> int:
    """Nanoseconds between two Unix times; 0 where they do not tell: the end is the earlier, or too far away."""
    nanoseconds = end - start
    return nanoseconds if 0 <= nanoseconds <= LONGEST else 0


def is_time(nanoseconds: int) -> bool:
    """Whether a Unix time may be meant: none of 1970, where seconds and milliseconds lead, and none after 2262."""
    return _YEAR <= nanoseconds < 1 << 63
