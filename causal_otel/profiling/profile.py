"""What was seen of one span: stacks as text, counted. It becomes attributes of the span when that ends."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from causal_otel.causality.folded import folded
from causal_otel.causality.stacks import Place, is_own
from causal_otel.names import CAUSAL_PROFILE, CAUSAL_PROFILE_PERIOD, CAUSAL_PROFILE_SAMPLES

if TYPE_CHECKING:
    from types import CodeType, FrameType

__all__ = ["Profile", "stack_of"]

_STACKS = 200
"""Of a span, however long it lasts. What is seen later in other stacks is counted alone."""
_CHARACTERS = 8000
"""Of the attribute. A back end that cuts long values mostly does so later."""
_LEAST_SAMPLES = 3
"""A span of which less was seen has no profile: two samples say nothing of where the time went."""
_FRAMES = 60
"""The innermost frames of a stack, which is cut at the user's own outermost one before."""
_DEEP = 2000
_RUNS = frozenset(("_run_once", "run_forever", "run"))
_LOOPS = frozenset(("asyncio.base_events", "asyncio.runners", "causal_otel.patches.event_loop"))
"""Functions and modules: what is outside of these is no part of what an event loop runs."""
_REMEMBERED = 8192
"""Lines of code whose text is known."""

_texts: dict[tuple[int, int], tuple[CodeType, str]] = {}


class Profile:
    """The stacks of one span.

    Attributes:
        seen: how often each stack was seen.
        samples: how often any was.
    """

    __slots__ = ("samples", "seen")

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}
        self.samples = 0

    def add(self, stack: str) -> None:
        """Note that ``stack`` was seen."""
        self.samples += 1
        if stack in self.seen or len(self.seen) < _STACKS:
            self.seen[stack] = self.seen.get(stack, 0) + 1

    def attributes(self, period: float) -> dict[str, Any]:
        """What the span says of it; nothing, if too little was seen.

        Args:
            period: seconds between two looks.
        """
        if self.samples < _LEAST_SAMPLES:
            return {}
        return {
            CAUSAL_PROFILE: folded(self.seen.copy(), _CHARACTERS),
            CAUSAL_PROFILE_SAMPLES: self.samples,
            CAUSAL_PROFILE_PERIOD: period,
        }


def stack_of(frame: FrameType | None) -> str:
    """The stack as text, from the user's own outermost frame on.

    What is outside of that, such as the server, is always the same. Where there is no such frame, it is all that the
    event loop or the thread runs.

    Args:
        frame: the innermost.
    """
    texts: list[str] = []
    own = 0
    while frame is not None and len(texts) < _DEEP:
        code = frame.f_code
        if code.co_name in _RUNS and frame.f_globals.get("__name__") in _LOOPS:
            break
        texts.append(_text(code, frame.f_lineno))
        if is_own(code):
            own = len(texts)
        frame = frame.f_back
    del texts[min(own or len(texts), _FRAMES) :]
    return ";".join(reversed(texts))


def _text(code: CodeType, line: int | None) -> str:
    """``report.py:31 render()``, worked out once."""
    line = line or code.co_firstlineno
    found = _texts.get((id(code), line))
    if found is None:
        if len(_texts) >= _REMEMBERED:
            _texts.clear()
        text = str(Place(code, line)).replace(";", ",").replace("\n", " ")
        found = _texts[id(code), line] = code, sys.intern(text)  # the code as well, or its id could be another's
    return found[1]
