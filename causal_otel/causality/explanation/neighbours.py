"""What would have to be known of other traces to explain one: who blocked its event loop, who had the connections."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from causal_otel.causality.explanation.categories import HOLDER, is_lock_wait
from causal_otel.causality.explanation.known_stalls import KnownStalls
from causal_otel.causality.spans.parts import measured
from causal_otel.causality.spans.stalls import STALL, is_stall
from causal_otel.names import CAUSAL_LINK, CAUSAL_LOOP_BLOCKED, CAUSAL_POOL_WAIT

if TYPE_CHECKING:
    from causal_otel.causality.spans import Span, Trace

__all__ = ["Neighbours", "Wanted", "neighbours"]

_LEAST = 10_000_000
_EARLIER = 60 * 10**9
"""Nanoseconds that what held something may have begun before it was waited for."""

_LONGER = 20
"""What held a connection for less than this part of a wait was not what the wait was for."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Spans of other traces that may have held what this one waited for.

    Attributes:
        service: whose they are.
        kind: their kind.
        operation: their name; None: any.
        system: what they talk to; None: anything.
        start: from when on they began, Unix time in nanoseconds.
        end: until when.
        shortest: how long they took at least, in nanoseconds.
    """

    service: str
    kind: str
    operation: str | None
    system: str | None
    start: int
    end: int
    shortest: int


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What to look for, and the ids of traces that are known to matter."""

    spans: tuple[Wanted, ...]
    trace_ids: tuple[str, ...]


def neighbours(trace: Trace[Span]) -> Neighbours:
    """What an explanation of a trace would like to know of others; mostly nothing."""
    return Neighbours((*_stalls(trace), *_pools(trace)), tuple(sorted(_holders(trace))))


def _stalls(trace: Trace[Span]) -> list[Wanted]:
    known = KnownStalls(trace)
    victims: defaultdict[str, list[Span]] = defaultdict(list)
    for span in trace.spans:
        blocked = measured(span.attributes, CAUSAL_LOOP_BLOCKED)
        if blocked >= _LEAST and not is_stall(span):
            stalls = known.of(span)
            if blocked - (stalls.between(span.start, span.end) if stalls is not None else 0) >= _LEAST:
                victims[span.service].append(span)
    return [
        Wanted(
            service,
            "internal",
            STALL,
            None,
            min(span.start for span in spans) - _EARLIER,
            max(span.end for span in spans),
            _LEAST,
        )
        for service, spans in sorted(victims.items())
    ]


def _pools(trace: Trace[Span]) -> list[Wanted]:
    waits: defaultdict[tuple[str, str, str], list[tuple[int, int]]] = defaultdict(list)
    for span in trace.spans:
        if span.kind in ("client", "producer"):
            wait = measured(span.attributes, CAUSAL_POOL_WAIT)
            if wait >= _LEAST:
                waits[span.service, span.kind, span.system].append((span.start, wait))
    return [
        Wanted(
            service,
            kind,
            None,
            system or None,
            min(start for start, _ in found) - _EARLIER,
            max(start + wait for start, wait in found),
            max(wait for _, wait in found) // _LONGER,
        )
        for (service, kind, system), found in sorted(waits.items())
    ]


def _holders(trace: Trace[Span]) -> set[str]:
    return {
        link.trace_id
        for span in trace.spans
        if is_lock_wait(span)
        for link in span.links
        if link.attributes.get(CAUSAL_LINK) == HOLDER and link.trace_id != trace.trace_id
    }
