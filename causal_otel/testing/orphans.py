"""Spans that have lost their context: their parent, or the request that they were made for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causal_otel.testing.calls import is_timed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from causal_otel.collector.view import TraceView

__all__ = ["orphans"]

_SERVED = frozenset({"server", "consumer"})
_CALLS = frozenset({"client", "producer"})


def orphans(traces: Sequence[TraceView], records: Iterable[tuple[Any, Any]]) -> list[str]:
    """A line for each of them.

    Args:
        traces: those of a test.
        records: its spans with their parents, as far as these are known as objects.
    """
    still_open = {
        parent.span_id().hex() for _, parent in records if getattr(parent, "_end", None) == 0 and parent is not None
    }
    elsewhere = {
        f"{span.parent.span_id:016x}" for span, _ in records if span.parent is not None and span.parent.is_remote
    }
    found = [
        f"  {span.name} [{span.kind}]: its parent {span.parent_id} was not recorded"
        for trace in traces
        for span in trace.roots
        if span.orphan and span.parent_id not in still_open | elsewhere
    ]
    return [*found, *_lost(traces)]


def _lost(traces: Sequence[TraceView]) -> Iterator[str]:
    """Calls that are traces of their own, made while a request or a task was worked on."""
    served = [span for trace in traces for span in trace.spans if span.kind in _SERVED]
    for trace in traces:
        for span in trace.roots:
            if span.kind in _CALLS and not span.parent_id and not is_timed(span) and not span.detached:
                around = next((each for each in served if each.start <= span.start and span.end <= each.end), None)
                if around is not None:
                    yield f"  {span.name} [{span.kind}]: a trace of its own, made while {around.name} was worked on"
