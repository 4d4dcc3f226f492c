"""Pieces of text: counts with their nouns, durations in one unit."""

from __future__ import annotations

__all__ = ["escaped", "in_milliseconds", "plural"]


def escaped(text: str) -> str:
    r"""``text`` in ASCII; every other character is written as in ``\u2026``."""
    return text if text.isascii() else text.encode("ascii", "backslashreplace").decode("ascii")


def plural(number: int, noun: str) -> str:
    """A number with its noun: ``1 span``, ``2 spans``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def in_milliseconds(nanoseconds: int) -> str:
    """A duration whose unit does not change along a column: ``430.0 ms``; from ten seconds on, ``12.5 s``."""
    if nanoseconds >= 10_000_000_000:
        return f"{nanoseconds / 1e9:.1f} s"
    return f"{nanoseconds / 1e6:.1f} ms"
