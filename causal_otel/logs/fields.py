"""What a log record says of its trace: four fields, with the same names everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.trace import TraceFlags

from causal_otel._internal import faults
from causal_otel.engine import context as contexts

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = ["NOTHING", "Fields", "fields", "ids"]

_SAMPLED = int(TraceFlags.SAMPLED)

service = ""
"""The name of the service, from ``install()`` until ``uninstall()``; a process has one."""


class Fields(NamedTuple):
    """Names and values, in the order in which they are shown."""

    trace_id: str
    """32 hexadecimal digits; empty outside a span."""
    span_id: str
    """16 hexadecimal digits; empty outside a span."""
    trace_sampled: bool
    """Whether the trace is exported, as far as was known when this was asked; False outside a span."""
    service: str


NOTHING = Fields("", "", False, "")


def fields() -> Fields:
    """What is said of the current context."""
    return Fields(*ids(contexts.current()), service)


def ids(context: Context) -> tuple[str, str, bool]:
    """The first three fields of ``context``. Never raises, whoever's span is current there."""
    try:
        span = contexts.current_span(context)
        if span is not None:
            found = span.get_span_context()
            if found.is_valid:
                return f"{found.trace_id:032x}", f"{found.span_id:016x}", found.trace_flags & _SAMPLED != 0
    except Exception:
        faults.report("logs: the current span")
    return "", "", False
