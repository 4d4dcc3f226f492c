"""Where in the user's own code an operation was issued: ``orders.py:52 load()``.

The stack is read when the operation begins, from the driver outwards, until a frame is found that is neither the
standard library's nor installed. What a line of code is called is worked out once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from causal_otel._internal import faults
from causal_otel.causality.stacks import Place, own_frame
from causal_otel.names import CAUSAL_CODE_ORIGIN

if TYPE_CHECKING:
    from types import CodeType, FrameType

    from opentelemetry.trace import Span

__all__ = ["tell_origin", "with_origin"]

StartLeaf = Callable[[str, SpanKind, dict[str, Any]], "Span"]

_REMEMBERED = 4096
_texts: dict[tuple[CodeType, int], str] = {}


def with_origin(start: StartLeaf) -> StartLeaf:
    """Wraps what starts the span of an operation, so that each tells where it was issued."""

    def start_with_origin(name: str, kind: SpanKind, attributes: dict[str, Any]) -> Span:
        span = start(name, kind, attributes)
        tell_origin(span)
        return span

    return start_with_origin


def tell_origin(span: Span) -> None:
    """Set on ``span`` where what it stands for was issued, if it is recorded and that is the user's own code."""
    try:
        if span.is_recording():
            found = own_frame(sys._getframe(2)) or _around_greenlet()
            if found is not None:
                span.set_attribute(CAUSAL_CODE_ORIGIN, _text(found.f_code, found.f_lineno))
    except Exception:
        faults.report("causality: where an operation was issued")


def _around_greenlet() -> FrameType | None:
    """The user's own frame outside of the greenlet that runs: SQLAlchemy runs its synchronous half in one."""
    module = sys.modules.get("greenlet")
    around = None if module is None else module.getcurrent().parent
    return None if around is None else own_frame(around.gr_frame)


def _text(code: CodeType, line: int) -> str:
    found = _texts.get((code, line))
    if found is None:
        if len(_texts) >= _REMEMBERED:
            _texts.clear()
        found = _texts[code, line] = str(Place(code, line))
    return found
