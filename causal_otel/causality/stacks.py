"""Frames in words: which of them is the user's own, where it stands, and the stack without source lines.

The user's own code is whatever is neither the standard library, nor installed (``site-packages``), nor ours. Whether a
file is, is found out once; after that each question is one look into a dict.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, FrameType

__all__ = ["Place", "formatted", "function_name", "is_ours", "is_own", "own_frame", "place"]

_REMEMBERED = 4096
"""Files. There are more only where code is made at run time, under ever new names."""
_INSTALLED = tuple(os.sep + name + os.sep for name in ("site-packages", "dist-packages"))
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_STANDARD = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_DEMO = os.path.join("causal_otel", "cli", "demo", "")
"""Of what is ours this alone is there to be looked at, as an application."""

_own: dict[str, bool] = {}
_short: dict[str, str] = {}


class Place(NamedTuple):
    """A line of code."""

    code: CodeType
    line: int

    def __str__(self) -> str:
        """For people: ``report.py:31 render()``; a module of a package is named with it, ``shop/report.py``."""
        name = self.code.co_filename
        return f"{_short.get(name) or _shortened(name)}:{self.line} {function_name(self.code)}()"


def place(frame: FrameType) -> Place:
    """Where ``frame`` stands."""
    return Place(frame.f_code, frame.f_lineno or frame.f_code.co_firstlineno)


def is_own(code: CodeType) -> bool:
    """Whether it is the user's own code."""
    name = code.co_filename
    found = _own.get(name)
    return _looked_at(name) if found is None else found


def is_ours(code: CodeType) -> bool:
    """Whether it is code of this library."""
    return code.co_filename.startswith(_OURS)


def own_frame(frame: FrameType | None) -> FrameType | None:
    """The user's own frame that is nearest to ``frame``: itself, or of those that have called it; None: there is none.

    Args:
        frame: such as ``sys._getframe(1)``.
    """
    known = _own.get
    while frame is not None:
        code = frame.f_code
        found = known(code.co_filename)
        if found or (found is None and _looked_at(code.co_filename)):
            return frame
        frame = frame.f_back
    return None


def function_name(code: CodeType) -> str:
    """``render``, ``Report.render``: without what it is nested in. A comprehension is the function that has it."""
    names = code.co_qualname.split(".<locals>.")
    while len(names) > 1 and names[-1].startswith("<") and names[-1] != "<lambda>":
        names.pop()
    return names[-1]


def formatted(places: Sequence[tuple[CodeType, int]]) -> str:
    """The stack as Python prints one, without source lines.

    Args:
        places: code and line of each frame, the innermost first.
    """
    lines = [f'  File "{code.co_filename}", line {line}, in {code.co_qualname}\n' for code, line in reversed(places)]
    return "".join(["Stack (most recent call last):\n", *lines])


def _looked_at(name: str) -> bool:
    """Find out whether a file is the user's own. Names in angle brackets are no files: code that somebody has made."""
    if len(_own) >= _REMEMBERED:
        _own.clear()
    own = _DEMO in name or not (name.startswith(("<", _OURS, _STANDARD)) or any(part in name for part in _INSTALLED))
    _own[name] = own
    return own


def _shortened(name: str) -> str:
    """The file's name, with its folder's if that is a package."""
    if len(_short) >= _REMEMBERED:
        _short.clear()
    folder, file = os.path.split(name)
    try:
        packaged = os.path.exists(os.path.join(folder, "__init__.py"))
    except (OSError, ValueError):
        packaged = False
    short = f"{os.path.basename(folder)}/{file}" if packaged and folder else file
    _short[name] = short
    return short
