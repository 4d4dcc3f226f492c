"""Why a span failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel._internal.printable import printable
from causal_otel.names import ERROR_TYPE, EXCEPTION_MESSAGE, EXCEPTION_TYPE

if TYPE_CHECKING:
    from causal_otel.causality.spans import Span

__all__ = ["failure"]


def failure(span: Span, longest: int) -> str:
    """What it failed with: the error's type, and its status' message or else what the last exception in it says.

    Args:
        span: the span, whose status is an error.
        longest: how many characters are kept.

    Returns:
        Text on one line; empty: it says nothing.
    """
    kind = str(span.attributes.get(ERROR_TYPE) or "")
    message = span.status_message
    if message in (kind, kind.rpartition(".")[2]):  # it says no more than the type
        message = ""
    for event in reversed(span.events):
        if event.name == "exception":
            kind = kind or str(event.attributes.get(EXCEPTION_TYPE, ""))
            message = message or str(event.attributes.get(EXCEPTION_MESSAGE, ""))
            break
    short = kind.rpartition(".")[2]
    if kind and message.startswith((f"{short}:", f"{kind}:")):  # SDKs put an exception's type before what it says
        kind = ""
    return printable(": ".join(part for part in (kind, message) if part)[:longest])
