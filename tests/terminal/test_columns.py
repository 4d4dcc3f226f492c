"""Lines fitted to columns, and tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from causal_otel.terminal.columns import cells, fit, table, width_of


def _texts(rows: list[list[str]], right: tuple[int, ...] = ()) -> list[str]:
    styled = [[(text, "") for text in row] for row in rows]
    return ["".join(text for text, _ in line) for line in table(styled, right=right)]


@given(st.text(max_size=20), st.integers(0, 30), st.booleans())
def test_cells_are_filled_exactly(text: str, width: int, right: bool) -> None:
    """A cell has the width it should have, whatever is in it."""
    fitted = fit([(text, "")], width, right=right)
    assert width_of(fitted) == width or (width == 0 and width_of(fitted) <= 1)
    assert width_of(fitted) == cells("".join(part for part, _ in fitted))


def test_columns_stand_below_each_other() -> None:
    """A column is as wide as its widest cell, in cells of the terminal; numbers may stand on the right."""
    lines = _texts([["NAME", "SPANS", "OF"], ["漢字漢字", "7", "a"], ["x", "12", "bcd"]], right=(1,))
    assert lines == ["NAME      SPANS  OF", "漢字漢字      7  a", "x            12  bcd"]
    assert {cell_len(line) - len(line.split()[-1]) for line in lines} == {17}


def test_the_last_column_is_not_filled_up() -> None:
    """A short row is no longer than what it says, so that a narrow terminal cuts nothing off it."""
    assert _texts([["a", "b" * 50], ["c", "d"]]) == [f"a  {'b' * 50}", "c  d"]


def test_cells_keep_their_styles() -> None:
    """A cell's style is that of its text in the line."""
    (line,) = table([[("a", "red"), ("b", "dim")]])
    assert [pair for pair in line if pair[0].strip()] == [("a", "red"), ("b", "dim")]


_CELLS = [["0123456789"] * 3 + ["n" * 60], ["1", "2", "3", "name"]]


@pytest.mark.parametrize(
    ("width", "shown"),
    [(None, [0, 1, 2, 3]), (68, [0, 1, 2, 3]), (67, [0, 2, 3]), (56, [0, 2, 3]), (55, [2, 3]), (10, [2, 3])],
)
def test_a_narrow_terminal_has_fewer_columns(width: int | None, shown: list[int]) -> None:
    """Those that can be spared are left out, one after the other, until the last one has 32 columns."""
    rows = [[(cell, "") for cell in row] for row in _CELLS]
    lines = ["".join(text for text, _ in line).split() for line in table(rows, width=width, spare=(1, 0))]
    assert lines == [[row[number] for number in shown] for row in _CELLS]


def test_a_last_column_that_is_short_needs_no_more() -> None:
    """Nothing is left out where all fits."""
    rows = [[("0123456789", ""), ("ab", "")]]
    (line,) = table(rows, width=14, spare=(0,))
    assert "".join(text for text, _ in line) == "0123456789  ab"
