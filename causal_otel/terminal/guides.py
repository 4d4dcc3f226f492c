"""The lines that lead from a parent to its children, and the other signs that a tree is drawn with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Signs", "guides", "signs"]

_DEEPEST = 12  # levels that are drawn above a line: names keep their room, and a deep tree does not grow quadratically


class Signs(NamedTuple):
    """What a tree is drawn with.

    Attributes:
        guide: a level that goes on below the line.
        tee: a child that has a sibling below it.
        elbow: the last child.
        cross: what has failed.
    """

    guide: str
    tee: str
    elbow: str
    cross: str


_SIGNS = Signs("│ ", "├╴", "╰╴", "✗")
_ASCII_SIGNS = Signs("| ", "|-", "`-", "!")


def signs(ascii_only: bool) -> Signs:
    """The signs to draw with; ``ascii_only``: those that every encoding has."""
    return _ASCII_SIGNS if ascii_only else _SIGNS


def guides(places: Iterable[tuple[int, bool]], *, ascii_only: bool = False) -> Iterator[str]:
    """What stands before each name of a tree, from top to bottom; nothing before a root's.

    Of the levels above a line, the nearest twelve are drawn.

    Args:
        places: of each line, its depth (a root's is 0; it grows by one at most) and whether a sibling follows below it.
        ascii_only: whether nothing else may be drawn with.
    """
    guide, tee, elbow, _ = signs(ascii_only)
    goes_on: list[bool] = []  # for each level above and the line's own, whether it does below this line
    for depth, more in places:
        if depth == 0:
            goes_on.clear()
            yield ""
            continue
        del goes_on[depth - 1 :]
        above = "".join(guide if each else "  " for each in goes_on[-_DEEPEST:])
        goes_on.append(more)
        yield above + (tee if more else elbow)
