"""What a span failed with, as short as possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel.collector.attributes import text
from causal_otel.collector.mcp.answers import name
from causal_otel.names import ERROR_TYPE, EXCEPTION_TYPE

if TYPE_CHECKING:
    from causal_otel.causality.spans import Span

__all__ = ["error_type"]

_NO_TYPE = "error"
"""The type of an error that has none."""


def error_type(span: Span) -> str:
    """The type of a failed span's error: ``error.type``, or that of its last exception."""
    kind = text(span.attributes.get(ERROR_TYPE))
    for event in reversed(span.events):
        if not kind and event.name == "exception":
            kind = text(event.attributes.get(EXCEPTION_TYPE))
    return name(kind) or _NO_TYPE
