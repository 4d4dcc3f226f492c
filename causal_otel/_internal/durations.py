"""Durations as people read them."""

from __future__ import annotations

from itertools import pairwise

__all__ = ["format_duration"]

# A unit, its size, and from where on it is used: 999.6 µs in three digits is 1 ms.
_STEPS = (("s", 10**9, 999_500_000), ("ms", 10**6, 999_500), ("µs", 10**3, 1000))
_COARSE = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def format_duration(nanoseconds: int) -> str:
    """A duration for people, in three digits: ``430 µs``, ``1.23 ms``, ``2.5 s``, ``3 min 20 s``, ``2 d 3 h``."""
    if nanoseconds < 0:
        return f"-{format_duration(-nanoseconds)}"
    if nanoseconds >= 59_950_000_000:
        return _coarse((nanoseconds + 500_000_000) // 10**9)
    for unit, size, least in _STEPS:
        if nanoseconds >= least:
            return f"{_three_digits(nanoseconds / size)} {unit}"
    return f"{_three_digits(nanoseconds)} ns"


def _three_digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    text = f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
    return text.rstrip("0").rstrip(".")


def _coarse(seconds: int) -> str:
    """Minutes and more: the largest unit and the one below it, if there is any of it."""
    for (unit, size), (smaller, smaller_size) in pairwise(_COARSE):
        if seconds >= size:
            rest = seconds % size // smaller_size
            return f"{seconds // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{seconds} s"
