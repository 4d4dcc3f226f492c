"""What an error is told apart by: its type and the application's own frame, as the label of its measure has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from causal_otel.collector.attributes import plain, text
from causal_otel.collector.expressions import And, Compare, Expression, Has, Not
from causal_otel.collector.own_frames import own_frame
from causal_otel.collector.store.measures import OTHERS
from causal_otel.names import ERROR_TYPE, EXCEPTION_STACKTRACE, EXCEPTION_TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from causal_otel.collector.analysis import SpanView

__all__ = ["UNTYPED", "ErrorLabel", "error_of", "joined", "searches", "split"]

UNTYPED = "error"
"""The type of an error that tells none."""

LONGEST = 100
"""Characters of a type or a frame."""


class ErrorLabel(NamedTuple):
    """An error's type, and the application's own frame; empty: no stack trace tells it."""

    type: str
    frame: str


def joined(attributes: Mapping[str, Any], exception: tuple[str, str]) -> str:
    """The label of a failed span.

    Args:
        attributes: of the span.
        exception: the type of its last exception, and the own frame of that one; both may be empty.
    """
    kind = exception[0] or text(attributes.get(ERROR_TYPE)) or UNTYPED
    return f"{kind[:LONGEST]}\n{exception[1][:LONGEST]}"


def split(label: str) -> ErrorLabel:
    """What a label tells."""
    kind, _, frame = label.rpartition("\n")
    return ErrorLabel(kind, frame) if kind else ErrorLabel(label.strip("\n"), "")


def searches(label: ErrorLabel) -> tuple[Expression | None, ...]:
    """What finds spans with such an error: each of these; no search knows frames.

    Of an error without a stack trace nobody knows which key told its type. None finds all that failed: types that were
    cut, and the errors of which there were too many kinds.
    """
    kind, frame = label
    if len(kind) >= LONGEST or (kind == OTHERS and not frame):
        return (None,)
    if kind == UNTYPED and not frame:
        return (And((Not(Has(ERROR_TYPE)), Not(Has(EXCEPTION_TYPE)))),)
    keys = (EXCEPTION_TYPE,) if frame else (ERROR_TYPE, EXCEPTION_TYPE)
    return tuple(Compare(key, "=", kind) for key in keys)


def error_of(span: SpanView) -> ErrorLabel:
    """What a span that failed is told by."""
    exception = "", ""
    for event in span.message.events:
        if event.name == "exception":
            given = {pair.key: text(plain(pair.value)) for pair in event.attributes}
            exception = given.get(EXCEPTION_TYPE, ""), own_frame(given.get(EXCEPTION_STACKTRACE, ""))
    return split(joined(span.attributes, exception))
