"""The parts of a span's time that its instrumentation has measured: what holds them, and in which order they lie."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from causal_otel.names import (
    CAUSAL_CONNECT,
    CAUSAL_DISCOVERY,
    CAUSAL_FETCH,
    CAUSAL_LOCK_WAIT,
    CAUSAL_LOOP_BLOCKED,
    CAUSAL_POOL_SETUP,
    CAUSAL_POOL_WAIT,
    CAUSAL_QUEUE_WAIT,
    CAUSAL_RECEIVE,
    CAUSAL_RETRY_WAIT,
    CAUSAL_SEND,
    CAUSAL_SERVER,
    CAUSAL_THREADPOOL_WAIT,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from causal_otel.causality.spans import Span

__all__ = [
    "BEFORE",
    "INSIDE",
    "begin",
    "end",
    "makes_room",
    "measured",
    "nanoseconds",
    "parts_before",
    "thread_wait_is_inside",
]

INSIDE = (
    CAUSAL_RECEIVE,
    CAUSAL_THREADPOOL_WAIT,
    CAUSAL_DISCOVERY,
    CAUSAL_POOL_WAIT,
    CAUSAL_CONNECT,
    CAUSAL_POOL_SETUP,
    CAUSAL_LOCK_WAIT,
    CAUSAL_RETRY_WAIT,
    CAUSAL_SERVER,
    CAUSAL_FETCH,
    CAUSAL_SEND,
    CAUSAL_LOOP_BLOCKED,
)
"""The attributes that hold seconds of their span, in the order in which they happen. The last may be anywhere."""

BEFORE = (CAUSAL_QUEUE_WAIT, CAUSAL_THREADPOOL_WAIT)
"""Those that hold seconds before it; the second is inside the spans that :func:`thread_wait_is_inside` tells."""

_ROUNDING = 1_000_000
"""Nanoseconds by which parts may be more than the span: each is measured for itself."""

_AWAITS_THREADS = "causal_otel.asgi"
"""The scope of spans that go on while they wait for a thread; others begin in the thread that was waited for."""


def begin(span: Span) -> int:
    """When a span started, by the clock of the critical path."""
    return span.start + span.skew


def end(span: Span) -> int:
    """When it ended, by that clock."""
    return span.end + span.skew


def nanoseconds(seconds: Any) -> int:
    """What an attribute in seconds says, in nanoseconds; 0 if it is no number, or none that a time can be."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return 0
    found = seconds * 1_000_000_000
    return max(0, round(found)) if math.isfinite(found) else 0


def measured(attributes: Mapping[str, Any], key: str) -> int:
    """Nanoseconds that a span's attribute tells; 0 if it has none."""
    return nanoseconds(attributes.get(key))


def makes_room(span: Span) -> bool:
    """Whether the parts of a span leave out the time in which its event loop was stuck.

    Ours do: what a driver was waited for while the loop stood still is no part of its server's. Others may not know.
    """
    attributes = span.attributes
    return sum(measured(attributes, key) for key in INSIDE) <= span.duration + _ROUNDING


def thread_wait_is_inside(scope: str) -> bool:
    """Whether spans that this instrumentation has recorded wait for a thread themselves."""
    return scope == _AWAITS_THREADS


def parts_before(span: Span) -> dict[str, int]:
    """What passed before the span started and because of it, by the attributes' names, in nanoseconds."""
    inside = thread_wait_is_inside(span.scope.name)
    found = {key: measured(span.attributes, key) for key in BEFORE if not (inside and key == CAUSAL_THREADPOOL_WAIT)}
    return {key: length for key, length in found.items() if length}
