"""Where the time inside a span went, by what its instrumentation measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from causal_otel.collector.analysis.view import SpanView

__all__ = ["Part", "where_time_went"]

# The attributes hold seconds. The order is that in which it happens.
_MEASURED = (
    ("causal.pool.wait", "pool wait"),
    ("causal.connect", "connect"),
    ("causal.server", "server"),
    ("causal.fetch", "fetch"),
    ("causal.loop.blocked", "loop blocked"),
)
_QUEUE = ("causal.queue.wait", "queue wait")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a span's time.

    Attributes:
        key: the attribute that it is from; ``rest`` is what nothing was measured of.
        label: for people.
        duration: nanoseconds.
        share: of the span's duration, 0 to 1.
        before: whether it passed before the span started, as waiting in a queue does: then the share is 0.
    """

    key: str
    label: str
    duration: int
    share: float
    before: bool = False


def where_time_went(span: SpanView) -> list[Part]:
    """The parts of the span's time, in the order they happen; empty if nothing was measured.

    Those that are not ``before`` add up to its duration: what is measured beyond that is cut off.
    """
    parts = []
    waited = _nanoseconds(span, _QUEUE[0])
    if waited:
        parts.append(Part(*_QUEUE, waited, 0.0, before=True))
    left = span.duration
    measured = False
    for key, label in _MEASURED:
        spent = min(left, _nanoseconds(span, key))
        if spent:
            measured = True
            left -= spent
            parts.append(Part(key, label, spent, spent / span.duration))
    if measured and left:
        parts.append(Part("rest", "rest", left, left / span.duration))
    return parts


def _nanoseconds(span: SpanView, key: str) -> int:
    """What the attribute says, 0 if it says nothing of use."""
    seconds = span.attributes.get(key)
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return 0
    nanoseconds = seconds * 1_000_000_000
    return max(0, round(nanoseconds)) if math.isfinite(nanoseconds) else 0
