"""Pieces of text: harmless, counted, timed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causal_otel._internal.printable import printable
from causal_otel.terminal.text import escaped, in_milliseconds, plural


@given(st.text(), st.none() | st.integers(1, 20))
def test_nothing_steers_the_terminal(text: str, longest: int | None) -> None:
    """Whatever comes in, what comes out is one printable line, no longer than it may be."""
    shown = printable(text, longest)
    assert shown.isprintable()
    assert len(shown) == len(text) if longest is None else len(shown) <= longest


def test_cut_text_says_so() -> None:
    """A text that is cut ends with an ellipsis; one that just fits is left as it is."""
    assert printable("abcdef", 5) == "abcd…"
    assert printable("abcde", 5) == "abcde"


def test_escaped_is_ascii() -> None:
    """Characters beyond ASCII are written as Python writes them."""
    assert escaped("a → ☃") == "a \\u2192 \\u2603"


@pytest.mark.parametrize(("number", "shown"), [(0, "0 spans"), (1, "1 span"), (2, "2 spans")])
def test_plural(number: int, shown: str) -> None:
    """One is one; all else has an s."""
    assert plural(number, "span") == shown


@pytest.mark.parametrize(
    ("nanoseconds", "shown"),
    [(0, "0.0 ms"), (430_000, "0.4 ms"), (9_999_000_000, "9999.0 ms"), (12_500_000_000, "12.5 s")],
)
def test_in_milliseconds(nanoseconds: int, shown: str) -> None:
    """Durations of a column share their unit, up to ten seconds."""
    assert in_milliseconds(nanoseconds) == shown
