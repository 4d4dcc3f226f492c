"""Pools of connections that had none left, and who had them."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from itertools import accumulate
from operator import sub
from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.findings.finding import Finding, call, finding
from causal_otel.causality.explanation.findings.statements import place
from causal_otel.causality.explanation.shares import pool_state
from causal_otel.causality.spans.parts import begin, measured
from causal_otel.causality.spans.targets import a_connection_to, named
from causal_otel.names import CAUSAL_POOL_WAIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from causal_otel.causality.explanation.scene import Scene
    from causal_otel.causality.spans import Span, Trace

__all__ = ["find"]

_LEAST_SHARE = 0.02
_SHOWN = 3
_KINDS = frozenset({"client", "producer"})

_Pool = tuple[str, str]
"""Process and place."""


def find(scene: Scene) -> Iterator[Finding]:
    """One for each pool that the trace waited for, with the operations that used its connections meanwhile."""
    groups: defaultdict[_Pool, list[Span]] = defaultdict(list)
    for span in scene.spans:
        if span.kind in _KINDS and measured(span.attributes, CAUSAL_POOL_WAIT):
            groups[_pool(scene, span)].append(span)
    users = _users(scene) if groups else {}
    for pool, spans in groups.items():
        spans.sort(key=lambda span: (-measured(span.attributes, CAUSAL_POOL_WAIT), span.start, span.span_id))
        waited = sum(measured(span.attributes, CAUSAL_POOL_WAIT) for span in spans)
        if scene.share(waited, begin(spans[0])) < _LEAST_SHARE:
            continue
        state = pool_state(spans)
        times = f" in {len(spans)} calls" if len(spans) > 1 else ""
        said = f"waited {format_duration(waited)} for {a_connection_to(spans[0])}{times}"
        said += (f" ({state})" if state else "") + _held(scene, spans, users[pool, spans[0].kind])
        yield finding(scene, "pool_exhausted", said, waited, spans)


def _pool(scene: Scene, span: Span) -> _Pool:
    return scene.stalls.process_of(span), place(span)


def _users(scene: Scene) -> dict[tuple[_Pool, str], list[tuple[Trace[Span], Span]]]:
    """What may have had connections, by pool and kind."""
    found: defaultdict[tuple[_Pool, str], list[tuple[Trace[Span], Span]]] = defaultdict(list)
    for trace in (scene.trace, *scene.others):
        for span in trace.spans:
            if (kind := span.kind) in _KINDS:
                found[_pool(scene, span), kind].append((trace, span))
    return found


def _held(scene: Scene, waiting: Sequence[Span], users: Iterable[tuple[Trace[Span], Span]]) -> str:
    """What used the pool's connections while they waited, by operation, longest first."""
    times: defaultdict[str, int] = defaultdict(int)
    waits = _Waits((span.start, span.start + measured(span.attributes, CAUSAL_POOL_WAIT)) for span in waiting)
    for trace, span in users:
        # Of one that waited as well, only what came after its wait had a connection.
        if held := waits.during(span.start + measured(span.attributes, CAUSAL_POOL_WAIT), span.end):
            times[_operation(scene, trace, span)] += held
    longest = sorted(times.items(), key=lambda each: (-each[1], each[0]))
    shown = ", ".join(f"{name} ({format_duration(held)})" for name, held in longest[:_SHOWN])
    more = f" and {len(longest) - _SHOWN} more" if len(longest) > _SHOWN else ""
    return f", which {shown}{more} used meanwhile" if shown else ""


class _Waits:
    """Times that may overlap, of which each moment counts once; how much of a time lies in them is looked up."""

    def __init__(self, waits: Iterable[tuple[int, int]]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(waits):
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)
        self._spent = [0, *accumulate(map(sub, self._ends, self._starts))]

    def during(self, start: int, end: int) -> int:
        """Nanoseconds of the time from ``start`` to ``end`` that lie in one of them."""
        return self._until(end) - self._until(start) if start < end else 0

    def _until(self, at: int) -> int:
        begun = bisect_right(self._starts, at)
        spent: int = self._spent[begun]
        return spent - max(0, self._ends[begun - 1] - at) if begun else 0


def _operation(scene: Scene, trace: Trace[Span], span: Span) -> str:
    root = trace.root
    if trace is scene.trace or root is None or root is span:
        return call(span)
    return f"{call(span)} of {named(root.name)}"
