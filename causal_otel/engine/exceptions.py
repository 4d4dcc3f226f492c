"""Exceptions on spans: noted in a few microseconds where they happen, formatted where the span is exported.

An exception keeps its frames alive, and with them all local variables of the code that failed. So what is kept of it
are its message and the places of its innermost frames; source lines and variables are not looked at.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from causal_otel._internal import faults
from causal_otel.names import EXCEPTION_ESCAPED, EXCEPTION_MESSAGE, EXCEPTION_STACKTRACE, EXCEPTION_TYPE

if TYPE_CHECKING:
    from types import CodeType

__all__ = ["CapturedException", "capture"]

_FRAMES = 50
"""How many of the innermost frames of each exception are kept."""
_CHAIN = 5
"""How many exceptions that came before are kept, each the cause or the context of the next."""

_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


class CapturedException(NamedTuple):
    """What is kept of an exception."""

    kind: str
    message: str
    frames: tuple[tuple[CodeType, int], ...]
    """Code and line of each, the innermost last."""
    before: CapturedException | None
    relation: str
    """What is said between the one before and this one."""

    def attributes(self) -> dict[str, Any]:
        """The attributes of an ``exception`` event (semantic conventions for exceptions)."""
        return {
            EXCEPTION_TYPE: self.kind,
            EXCEPTION_MESSAGE: self.message,
            EXCEPTION_STACKTRACE: self._text(),
            EXCEPTION_ESCAPED: "False",
        }

    def _text(self) -> str:
        lines = [self.before._text() + self.relation] if self.before is not None else []
        if self.frames:
            lines.append("Traceback (most recent call last):\n")
            lines += [
                f'  File "{code.co_filename}", line {line}, in {code.co_qualname}\n' for code, line in self.frames
            ]
        lines.append(f"{self.kind}: {self.message}\n" if self.message else f"{self.kind}\n")
        return "".join(lines)


def capture(exception: BaseException) -> CapturedException:
    """Note what ``exception`` is, where it came from and what came before it. Never raises, and keeps no frame."""
    return _capture(exception, _CHAIN, {id(exception)})


def _capture(exception: BaseException, left: int, seen: set[int]) -> CapturedException:
    kind = type(exception)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(exception)
    except Exception:  # a __str__ that raises must not replace the user's exception
        faults.report("engine: record_exception")
        message = ""
    frames: deque[tuple[CodeType, int]] = deque(maxlen=_FRAMES)
    traceback = exception.__traceback__
    while traceback is not None:
        frames.append((traceback.tb_frame.f_code, traceback.tb_lineno))
        traceback = traceback.tb_next
    before, relation = exception.__cause__, _CAUSE
    if before is None and not exception.__suppress_context__:
        before, relation = exception.__context__, _CONTEXT
    earlier = None
    if before is not None and left and id(before) not in seen:
        seen.add(id(before))
        earlier = _capture(before, left - 1, seen)
    return CapturedException(name, message, tuple(frames), earlier, relation)
