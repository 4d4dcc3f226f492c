"""The frame of a Python stack trace, as text, that is the application's own and nearest to where it failed."""

from __future__ import annotations

import re

__all__ = ["own_frame"]

_FRAME = re.compile(r'File "([^"\n]+)", line (\d+), in ([^\n]+)')
_SEPARATOR = re.compile(r"[/\\]")
_INSTALLED = ("/site-packages/", "/dist-packages/", "\\site-packages\\", "\\dist-packages\\")
_STANDARD = re.compile(r"[/\\]lib(?:64)?[/\\]python3[^/\\]*[/\\]|^<")
_MOST = 200_000
"""Characters that are looked at: of a longer one the last, where the exception itself is."""


def own_frame(stacktrace: str) -> str:
    """``shop/orders.py load()``: the deepest frame that is not installed, the standard library's or made at run time.

    Without such a frame it is the deepest one. The line is left out, since it moves with every release. Of chained
    exceptions the last one counts, which is the one that was raised in the end.

    Args:
        stacktrace: as Python prints one.

    Returns:
        The last folder, the file and the function; empty if there is no frame of Python's.
    """
    frames = _FRAME.findall(stacktrace[-_MOST:])
    if not frames:
        return ""
    path, _, function = next((each for each in reversed(frames) if _is_own(each[0])), frames[-1])
    place = "/".join(_SEPARATOR.split(path)[-2:])
    return f"{place} {function.strip().rpartition('.<locals>.')[2]}()"


def _is_own(path: str) -> bool:
    return not (any(part in path for part in _INSTALLED) or _STANDARD.search(path))
