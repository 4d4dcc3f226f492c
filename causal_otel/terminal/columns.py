"""Lines fitted to the columns of a terminal, where a character may take two of them or none.

A line is made of pairs of text and style; a style is a word or two such as ``bold`` or ``red``, or nothing.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

__all__ = ["Line", "cells", "fit", "table", "width_of"]

Line = tuple[tuple[str, str], ...]

_GAP = "  "
_LEAST_LAST = 32  # columns that the last column of a table should have, which tells what a row is of


def cells(text: str) -> int:
    """How many columns ``text`` takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def width_of(line: Iterable[tuple[str, str]]) -> int:
    """How many columns ``line`` takes."""
    return sum(cells(text) for text, _ in line)


def fit(line: Iterable[tuple[str, str]], width: int, *, ascii_only: bool = False, right: bool = False) -> Line:
    """``line`` in exactly ``width`` columns: cut, or filled up with spaces on its right (or ``right``: its left)."""
    pairs = tuple(line)
    missing = width - width_of(pairs)
    if missing < 0:
        ellipsis = "" if ascii_only else "…"
        pairs = (*_cut(pairs, width - len(ellipsis)), (ellipsis, ""))
        missing = width - width_of(pairs)
    filling = (" " * missing, "")
    return (filling, *pairs) if right else (*pairs, filling)


def table(
    rows: Sequence[Sequence[tuple[str, str]]],
    *,
    right: Container[int] = (),
    width: int | None = None,
    spare: Iterable[int] = (),
) -> Iterator[Line]:
    """The rows as lines, whose cells stand below each other.

    Args:
        rows: a pair of text and style for each cell; the first row may hold titles.
        right: the numbers of the columns whose cells stand on their right, such as numbers; the first one is 0.
        width: columns of the terminal; None: there is room for everything.
        spare: the numbers of columns that are left out where they leave the last one too little room, in that order.
    """
    widths = {number: max(cells(text) for text, _ in column) for number, column in enumerate(zip(*rows, strict=True))}
    last = len(widths) - 1
    needed = min(_LEAST_LAST, widths[last])
    for number in spare:
        if width is None or sum(widths.values()) - widths[last] + len(_GAP) * (len(widths) - 1) + needed <= width:
            break
        del widths[number]
    for row in rows:
        line: list[tuple[str, str]] = []
        for number, wide in widths.items():
            cell, at_right = row[number], number in right
            # The last column is not filled up, for a terminal would cut the filling and show that something is missing.
            line += [cell] if number == last and not at_right else fit([cell], wide, right=at_right)
            line += [(_GAP, "")] if number < last else []
        yield tuple(line)


def _cut(pairs: Line, width: int) -> Line:
    kept = []
    for text, style in pairs:
        end = 0
        while end < len(text) and width >= _cells(text[end]):
            width -= _cells(text[end])
            end += 1
        kept.append((text[:end], style))
        if end < len(text):
            break
    return tuple(kept)


def _cells(sign: str) -> int:
    if unicodedata.combining(sign) or unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1
