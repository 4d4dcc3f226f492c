"""Pieces of text: what comes from elsewhere made harmless, counts with their nouns, durations in one unit."""

from __future__ import annotations

__all__ = ["escaped", "in_milliseconds", "plural", "printable"]


def printable(text: str, longest: int | None = None) -> str:
    """``text`` on one line. It comes from elsewhere: nothing in it may move the cursor or turn the line around.

    Args:
        text: any text.
        longest: how many characters are kept; the last one of a text that is cut is an ellipsis. None: all.
    """
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + "…"
    return text if text.isprintable() else "".join(sign if sign.isprintable() else " " for sign in text)


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
