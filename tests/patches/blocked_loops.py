"""What tests of blocked loops share: what is planted, and how its spans are found."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import causal_otel
from causal_otel.patches.event_loop import EventLoopOptions
from tests.causality.blocking import nap
from tests.slow_machine import SlowMachine, assert_at_least
from tests.span_relations import assert_inside, assert_span, attributes, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Span

__all__ = [
    "GRACE",
    "PATCHES",
    "PLANTED",
    "THRESHOLD",
    "assert_blocked",
    "assert_parts",
    "blocked",
    "request",
    "watching",
]

THRESHOLD = 0.2
PLANTED = 0.6
"""Seconds: far above the threshold, so that a watchdog that gets no CPU for a while still sees it."""
PATCHES = {"event_loop": EventLoopOptions(loop_block_threshold=THRESHOLD)}
GRACE = 0.05
"""Seconds in which a loop waits, so that what blocks is not the loop's beginning."""
_PARTS = tuple(f"causal.block.{part}" for part in ("cpu", "starved", "gil", "wait"))


def blocked(spans: Sequence[ReadableSpan], function: str) -> list[ReadableSpan]:
    """The spans of stalls in ``function``. On a busy machine there may be others."""
    found = [span for span in spans if span.name == "loop blocked"]
    return [span for span in found if f" {function}()" in attributes(span).get("causal.block.frame", "")]


def assert_blocked(
    spans: Sequence[ReadableSpan], function: str, parent: Any, *, lasts: float = PLANTED
) -> dict[str, Any]:
    """Assert that a function has blocked a loop once, in that span, for at least four fifths of so many seconds.

    Raises:
        SlowMachine: the machine has stood still meanwhile, which is left out of stalls.
    """
    found = blocked(spans, function)
    assert found, [(span.name, attributes(span)) for span in spans]
    told = assert_span(found[0], None if parent is None else parent.get_span_context())
    assert_at_least(0.8 * lasts, seconds(found[0]))
    if len(found) > 1:
        raise SlowMachine(f"it is told in parts: {[(span.name, attributes(span)) for span in spans]}")
    assert found[0].kind.name == "INTERNAL"
    if parent is not None:
        assert_inside(parent, found[0])
    assert_parts(found[0])
    return told


async def request() -> Span:
    """Block inside a span, after a wait and before another."""
    with causal_otel.span("request") as span:
        await asyncio.sleep(GRACE)
        nap(PLANTED)
        await asyncio.sleep(GRACE)
    return span


def watching() -> list[threading.Thread]:
    """The threads that look at loops."""
    return [thread for thread in threading.enumerate() if thread.name == "causal-otel-loops"]


def assert_parts(span: ReadableSpan) -> None:
    """Assert that the parts of a stall's time add up to its time: each that is missing is below a millisecond."""
    told = attributes(span)
    parts = [told[part] for part in _PARTS if part in told]
    assert all(part >= 0.001 for part in parts)
    # The beginning of a span inside the turn may be a little later than that of the turn.
    assert abs(sum(parts) - seconds(span)) <= 0.004 + 0.2 * seconds(span), told
    assert told.get("causal.block.gc", 0.0) <= told.get("causal.block.cpu", 0.0)
