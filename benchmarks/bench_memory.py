"""What a span occupies while it is live: everything that Python has allocated for it, attributes included."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.peers import ATTRIBUTES, NAME, Peer, opentelemetry, ours
from benchmarks.rounds import OPENTELEMETRY, OURS

if TYPE_CHECKING:
    from benchmarks.conftest import Record

_SPANS = 5_000


def _bytes(make: Callable[[], Any], finish: Callable[[Any], Any]) -> float:
    """How much each of many takes."""
    finish(make())
    held: list[Any] = [None] * _SPANS
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(_SPANS):
            held[number] = make()
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        while held:
            finish(held.pop())
    return used / _SPANS


def _started(peer: Peer) -> float:
    # The dict is the caller's: gone after the call, unless it is kept.
    return _bytes(lambda: peer.tracer.start_span(NAME, attributes=dict(ATTRIBUTES)), lambda span: span.end())


def _entered(peer: Peer) -> float:
    def enter() -> Any:
        block = peer.tracer.start_as_current_span(NAME, attributes=dict(ATTRIBUTES))
        block.__enter__()
        return block

    return _bytes(enter, lambda block: block.__exit__(None, None, None))


def test_live_span(record: Record) -> None:
    """Started under a recorded parent and held; then also made current, each inside the one before."""
    for row, measure in (("memory", _started), ("memory current", _entered)):
        found = {}
        for name, manager in ((OPENTELEMETRY, opentelemetry), (OURS, ours)):
            with manager() as peer, peer.tracer.start_as_current_span("root"):
                found[name] = measure(peer)
        record(row, found)
