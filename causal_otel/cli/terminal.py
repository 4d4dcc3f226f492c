"""Lines for a terminal or a file: with rich in colour where that is shown, without it plain.

A line is made of pairs of text and style; a style is a word or two such as ``bold`` or ``red``, or nothing.
"""

from __future__ import annotations

import shutil
import sys
import unicodedata
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from rich.text import Text

__all__ = ["Line", "Screen", "cells", "fit", "printable", "rich_text"]

Line = tuple[tuple[str, str], ...]

_SHOWN_ANYWHERE = "━╴│✗…µ"  # one of each kind that we draw with
_COLUMNS_OF_A_FILE = 100


class Screen:
    """Where lines go.

    Attributes:
        width: in columns.
        ascii_only: whether nothing else may be drawn with.
        terminal: whether somebody looks at it: lines for a file or a pipe need not fit.
    """

    def __init__(self, stream: TextIO | None = None, width: int | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self.terminal = self._stream.isatty()
        self.width = width or shutil.get_terminal_size((_COLUMNS_OF_A_FILE, 24)).columns
        self.ascii_only = not _can_show(self._stream.encoding or "ascii")
        self._console = None
        if self.terminal and find_spec("rich") is not None:
            from rich.console import Console

            self._console = Console(file=self._stream, highlight=False)

    def print(self, *line: tuple[str, str] | str) -> None:
        """Print a line of pairs; a string alone has no style. What cannot be shown is replaced, not refused."""
        pairs = tuple((part, "") if isinstance(part, str) else part for part in line)
        if self._console is not None:
            self._console.print(rich_text(pairs), soft_wrap=True)
        else:
            print("".join(text for text, _ in pairs).rstrip(), file=self._stream)


def rich_text(line: Line) -> Text:
    """``line`` for a rich console."""
    from rich.text import Text

    text = Text(no_wrap=True)
    for part, style in line:
        text.append(part, style or None)
    text.rstrip()
    return text


def printable(text: str) -> str:
    """``text`` on one line. It comes from elsewhere: nothing in it may move the cursor or turn the line around."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def cells(text: str) -> int:
    """How many columns ``text`` takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def fit(line: Iterable[tuple[str, str]], width: int, *, ascii_only: bool = False, right: bool = False) -> Line:
    """``line`` in exactly ``width`` columns: cut, or filled up with spaces on its right (or ``right``: its left)."""
    pairs = tuple(line)
    missing = width - sum(cells(text) for text, _ in pairs)
    if missing < 0:
        ellipsis = "" if ascii_only else "…"
        pairs = (*_cut(pairs, width - len(ellipsis)), (ellipsis, ""))
        missing = width - sum(cells(text) for text, _ in pairs)
    filling = (" " * missing, "")
    return (filling, *pairs) if right else (*pairs, filling)


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


def _can_show(encoding: str) -> bool:
    try:
        _SHOWN_ANYWHERE.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
