"""The lines that lead from a parent to its children."""

from __future__ import annotations

import pytest

from causal_otel.terminal.guides import guides, signs


def test_levels_go_on_while_there_are_siblings() -> None:
    """A level has a bar as long as a sibling follows below it, and the last child an elbow."""
    places = [(0, True), (1, True), (2, False), (1, False), (2, True), (2, False), (0, False), (1, False)]
    assert list(guides(places)) == ["", "├╴", "│ ╰╴", "╰╴", "  ├╴", "  ╰╴", "", "╰╴"]


@pytest.mark.parametrize("ascii_only", [False, True])
def test_plain_signs_are_ascii(ascii_only: bool) -> None:
    """Whether all signs are ASCII is as was asked for."""
    drawn = "".join(guides([(0, False), (1, True), (2, False), (1, False)], ascii_only=ascii_only))
    assert drawn.isascii() is ascii_only
    assert "".join(signs(ascii_only)).isascii() is ascii_only


def test_deep_trees_are_indented_so_far_only() -> None:
    """Beyond twelve levels the indentation grows no more, and the nearest levels are the ones drawn."""
    drawn = list(guides((depth, depth > 90) for depth in range(100)))
    assert max(map(len, drawn)) == 26
    assert drawn[95] == "  " * 8 + "│ " * 4 + "├╴"
