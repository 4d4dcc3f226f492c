"""The frame of a Python stack trace, as text, that is the application's own and nearest to where it failed."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import starmap
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["own_frame"]

_HEADER = re.compile(r"^([ |+-]{0,200})(?:Exception Group )?Traceback \(most recent call last\):", re.MULTILINE)
_FRAME = re.compile(r'  File "([^"\n]{1,1000})", line \d+, in ([^\n]+)')  # literal at first, which is found fast
_NEXT = re.compile(
    r"""
    ^[ |]*(?:The[ ]above[ ]exception[ ]was[ ]the[ ]direct[ ]cause[ ]of[ ]the[ ]following[ ]exception:
           |During[ ]handling[ ]of[ ]the[ ]above[ ]exception,[ ]another[ ]exception[ ]occurred:)
    | ^[ |+-]*\+-{2,}(?:[ ]\d+[ ]-+)?$  # before each exception of a group, and after the last one
    """,
    re.VERBOSE | re.MULTILINE,
)
"""What stands between two tracebacks."""

_SEPARATOR = re.compile(r"[/\\]")
_COMPREHENSION = re.compile(r"<(?:listcomp|setcomp|dictcomp|genexpr)>")
_OUTERMOST = 4
"""Columns before the lines of a group's own traceback, at the most. Those of its parts have more."""

_FOREIGN = re.compile(
    r"""
    [/\\](?:site|dist)-packages[/\\]                 # installed, whatever the environment's name is
    | [/\\]\.pex[/\\] | \.egg[/\\] | [/\\]__pypackages__[/\\]
    | [/\\]lib(?:64|32)?[/\\](?:python|pypy)\d[^/\\]*[/\\]  # the standard library
    | [/\\](?:python|pypy)\d[^/\\]*\.zip[/\\]
    | \\[^\\]*[Pp]ython[^\\]*\\[Ll]ib\\              # the same on Windows
    | \\(?:mini|ana)conda\d?\\(?:envs\\[^\\]+\\)?[Ll]ib\\
    | ^<                                             # made at run time, or frozen
    | \.p(?:yx|xd|xi)$                               # of Cython, which are told by a path inside their distribution
    | [/\\]causal_otel[/\\](?:_internal|causality|engine|export|instrument|logs|metrics|patches|sampling)[/\\]
    | [/\\]causal_otel[/\\](?:api|client_span)\.py$
    """,
    re.VERBOSE,
)
_MOST = 200_000
"""Characters that are looked at: of a longer one the last, where the exception itself is."""


class _Frame(NamedTuple):
    path: str
    function: str


class _Traceback(NamedTuple):
    """One of the tracebacks of a stack trace: whether it is a group's part, and its frames, the deepest last."""

    inner: bool
    frames: list[_Frame]


def own_frame(stacktrace: str) -> str:
    """``shop/orders.py load()``: the deepest frame that is not installed, the standard library's or made at run time.

    Without such a frame it is the deepest one. The line is left out, since it moves with every release. Of chained
    exceptions the last one counts, which is the one that was raised in the end, and one before it only if that has no
    such frame. So it is with the exceptions of a group: the order in which these failed is mostly chance. An
    application that is installed like a library, other than as editable, cannot be told from one.

    Args:
        stacktrace: as Python prints one.

    Returns:
        The last folder, the file and the function; empty if there is no frame of Python's.
    """
    found = list(_tracebacks(stacktrace[-_MOST:]))
    last = max((place for place, each in enumerate(found) if not each.inner), default=0)
    ordered = [*found[last:], *reversed(found[:last])]
    for traceback in ordered:
        for place in range(len(traceback.frames) - 1, -1, -1):
            if not _is_foreign(traceback.frames[place].path):
                return _named(traceback.frames, place)
    deepest = next((each.frames for each in ordered if each.frames), None)
    return _named(deepest, len(deepest) - 1) if deepest else ""


@lru_cache(maxsize=2048)
def _is_foreign(path: str) -> bool:
    return _FOREIGN.search(path) is not None


def _tracebacks(text: str) -> Iterator[_Traceback]:
    """Each of them, as they are printed. What an exception says may look like one, and is none."""
    header = _HEADER.search(text)
    if cut := _frames(text if header is None else text[: header.start()]):
        yield _Traceback(False, cut)
    while header is not None:
        margin = len(header[1])
        # The first line that is not indented says what was raised.
        end = re.compile(rf"\n.{{{margin}}}(?=[^ \n])").search(text, header.end())
        yield _Traceback(margin > _OUTERMOST, _frames(text[header.end() : len(text) if end is None else end.start()]))
        following = None if end is None else _NEXT.search(text, end.start())
        header = None if following is None else _HEADER.search(text, following.end())


def _frames(text: str) -> list[_Frame]:
    return list(starmap(_Frame, _FRAME.findall(text)))


def _named(frames: list[_Frame], place: int) -> str:
    path, function = frames[place]
    while place and _COMPREHENSION.fullmatch(function) and frames[place - 1].path == path:
        place -= 1
        function = frames[place].function  # from Python 3.12 on, most comprehensions have no frame
    function = function.rpartition(".<locals>.")[2]
    shown = function if function.startswith("<") else f"{function}()"
    return f"{'/'.join(_SEPARATOR.split(path)[-2:])} {shown}"
