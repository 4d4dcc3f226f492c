"""Where lines go: a terminal or a file; with rich in colour where that is shown, without it plain."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from typing import TYPE_CHECKING

from causal_otel.terminal.columns import fit, width_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from rich.console import Console
    from rich.text import Text

    from causal_otel.terminal.columns import Line

__all__ = ["Screen"]

_SHOWN_ANYWHERE = "━╴│✗…µ"  # one of each kind that we draw with
_COLUMNS_OF_A_FILE = 100
_PLAIN = str.maketrans("µ×", "ux")


class Screen:
    """Where lines go.

    Args:
        stream: what they are written to; None: standard output.
        width: in columns; None: the terminal's.

    Attributes:
        width: in columns.
        ascii_only: whether nothing else may be drawn with.
        terminal: whether somebody looks at it: lines for a file or a pipe need not fit.
    """

    def __init__(self, stream: TextIO | None = None, width: int | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self.terminal = self._stream.isatty()
        self.width = width or _columns(self._stream)
        self.ascii_only = not _can_show(getattr(self._stream, "encoding", None) or "ascii")
        self._console = _rich_console(self._stream) if self.terminal else None

    def print(self, *line: tuple[str, str] | str) -> None:
        """Print a line of pairs of text and style; a string alone has no style."""
        self.write([tuple((part, "") if isinstance(part, str) else part for part in line)])

    def write(self, lines: Iterable[Line], *, cut: bool = False) -> None:
        """Print lines at one stroke, so that what other threads print does not come between.

        Where only ASCII may be drawn with, ``µ`` becomes ``u`` and ``×`` ``x``. Other characters that the stream's
        encoding has not are left to its error handler.

        Args:
            lines: of pairs of text and style.
            cut: whether lines that are longer than the terminal is wide lose their ends, and do not wrap.
        """
        shown = list(lines)
        if cut and self.terminal:
            shown = [
                fit(line, self.width, ascii_only=self.ascii_only) if width_of(line) > self.width else line
                for line in shown
            ]
        if self.ascii_only:
            shown = [tuple((text.translate(_PLAIN), style) for text, style in line) for line in shown]
        if self._console is not None:
            from rich.console import Group

            self._console.print(Group(*map(_rich_text, shown)), soft_wrap=True)
        else:
            self._stream.write("".join("".join(text for text, _ in line).rstrip() + "\n" for line in shown))


def _rich_console(stream: TextIO) -> Console | None:
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=stream, highlight=False)


def _rich_text(line: Line) -> Text:
    from rich.text import Text

    text = Text(no_wrap=True)
    for part, style in line:
        text.append(part, style or None)
    text.rstrip()
    return text


def _columns(stream: TextIO) -> int:
    """What COLUMNS says, or else standard output's columns, or else those of ``stream``."""
    columns = _COLUMNS_OF_A_FILE
    if stream.isatty():
        with contextlib.suppress(OSError, ValueError):
            columns = os.get_terminal_size(stream.fileno()).columns or columns
    return shutil.get_terminal_size((columns, 24)).columns


def _can_show(encoding: str) -> bool:
    try:
        _SHOWN_ANYWHERE.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
