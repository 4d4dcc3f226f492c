"""Where the time inside a span went, by what its instrumentation measured."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from causal_otel.causality.spans.parts import BEFORE, INSIDE, nanoseconds, thread_wait_is_inside
from causal_otel.collector.attributes import plain
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
    from collections.abc import Iterable

    from causal_otel.collector.view import SpanView

__all__ = [
    "BEFORE_LABELS",
    "LABELS",
    "LOOP_BLOCKED",
    "Part",
    "waited_before",
    "where_time_went",
    "where_times_went",
]

LOOP_BLOCKED = "loop blocked"
"""What that part is called."""

LABELS = {
    CAUSAL_RECEIVE: "receive",
    CAUSAL_THREADPOOL_WAIT: "thread pool",
    CAUSAL_DISCOVERY: "discovery",
    CAUSAL_POOL_WAIT: "pool wait",
    CAUSAL_CONNECT: "connect",
    CAUSAL_POOL_SETUP: "pool setup",
    CAUSAL_LOCK_WAIT: "lock wait",
    CAUSAL_RETRY_WAIT: "retry wait",
    CAUSAL_SERVER: "server",
    CAUSAL_FETCH: "fetch",
    CAUSAL_SEND: "send",
    CAUSAL_LOOP_BLOCKED: LOOP_BLOCKED,
}
"""What the parts inside a span are called, by their attributes."""

BEFORE_LABELS = {CAUSAL_QUEUE_WAIT: "queue wait", CAUSAL_THREADPOOL_WAIT: "thread wait"}
"""What the parts before it are called."""

_KEYS = frozenset((*INSIDE, *BEFORE))


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
    measured = _measured(span)
    if not measured:
        return []
    inside = CAUSAL_THREADPOOL_WAIT if thread_wait_is_inside(span.scope.name) else None
    parts = [
        Part(key, BEFORE_LABELS[key], measured.pop(key), 0.0, before=True)
        for key in BEFORE
        if key in measured and key != inside
    ]
    left = span.duration
    for key in INSIDE:
        spent = min(left, measured.get(key, 0))
        if spent:
            left -= spent
            parts.append(Part(key, LABELS[key], spent, spent / span.duration))
    if 0 < left < span.duration:
        parts.append(Part("rest", "rest", left, left / span.duration))
    return parts


def where_times_went(spans: Iterable[SpanView]) -> list[Part]:
    """Likewise of several spans together; those of which nothing was measured are all rest."""
    total = 0
    spent: Counter[tuple[bool, str]] = Counter()
    for span in spans:
        total += span.duration
        for part in where_time_went(span):
            spent[part.before, part.key] += part.duration
    if not spent:
        return []
    before = [(key, spent[True, key]) for key in BEFORE if (True, key) in spent]
    inside = [(key, spent[False, key]) for key in INSIDE if (False, key) in spent]
    rest = total - sum(duration for _, duration in inside)
    return [
        *(Part(key, BEFORE_LABELS[key], duration, 0.0, before=True) for key, duration in before),
        *(Part(key, LABELS[key], duration, duration / total) for key, duration in inside),
        *([Part("rest", "rest", rest, rest / total)] if 0 < rest < total else []),
    ]


def waited_before(span: SpanView) -> bool:
    """Whether a part of its time may lie before it, which is seen however short it is itself."""
    return any(key in span.attributes for key in BEFORE)


def _measured(span: SpanView) -> dict[str, int]:
    """What the attributes say, in nanoseconds, where it is of use; the others, which are the most, are not read."""
    found = {pair.key: nanoseconds(plain(pair.value)) for pair in span.message.attributes if pair.key in _KEYS}
    return {key: spent for key, spent in found.items() if spent}
