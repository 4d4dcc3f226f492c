"""Pools of connections that had none left, and who had them."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.findings.finding import Finding, call, finding
from causal_otel.causality.explanation.findings.statements import place
from causal_otel.causality.explanation.known_stalls import process_of
from causal_otel.causality.explanation.parts import begin, measured
from causal_otel.causality.explanation.shares import pool_state
from causal_otel.causality.explanation.targets import a_connection_to, named
from causal_otel.names import CAUSAL_POOL_WAIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from causal_otel.causality.explanation.scene import Scene
    from causal_otel.causality.spans import Span, Trace

__all__ = ["find"]

_LEAST_SHARE = 0.02
_SHOWN = 3


def find(scene: Scene) -> Iterator[Finding]:
    """One for each pool that the trace waited for, with the operations that used its connections meanwhile."""
    groups: defaultdict[tuple[str, str], list[Span]] = defaultdict(list)
    for span in scene.spans:
        if span.kind in ("client", "producer") and measured(span.attributes, CAUSAL_POOL_WAIT):
            groups[process_of(span), place(span)].append(span)
    for spans in groups.values():
        spans.sort(key=lambda span: (-measured(span.attributes, CAUSAL_POOL_WAIT), span.start, span.span_id))
        waited = sum(measured(span.attributes, CAUSAL_POOL_WAIT) for span in spans)
        if scene.share(waited, begin(spans[0])) < _LEAST_SHARE:
            continue
        state = pool_state(spans)
        times = f" in {len(spans)} calls" if len(spans) > 1 else ""
        said = f"waited {format_duration(waited)} for {a_connection_to(spans[0])}{times}"
        said += (f" ({state})" if state else "") + _held(scene, spans)
        yield finding(scene, "pool_exhausted", said, waited, spans)


def _held(scene: Scene, waiting: Sequence[Span]) -> str:
    """What used the pool's connections while they waited, by operation, longest first."""
    times: defaultdict[str, int] = defaultdict(int)
    windows = _merged((span.start, span.start + measured(span.attributes, CAUSAL_POOL_WAIT)) for span in waiting)
    where, process = place(waiting[0]), process_of(waiting[0])
    for trace in (scene.trace, *scene.others):
        for span in trace.spans:
            if span.kind != waiting[0].kind or place(span) != where:
                continue
            # Of one that waited as well, only what came after its wait had a connection.
            had = span.start + measured(span.attributes, CAUSAL_POOL_WAIT)
            held = _within(windows, had, span.end)
            if held and process_of(span) == process:
                times[_operation(scene, trace, span)] += held
    longest = sorted(times.items(), key=lambda each: (-each[1], each[0]))
    shown = ", ".join(f"{name} ({format_duration(held)})" for name, held in longest[:_SHOWN])
    more = f" and {len(longest) - _SHOWN} more" if len(longest) > _SHOWN else ""
    return f", which {shown}{more} used meanwhile" if shown else ""


def _merged(windows: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Times that may overlap as times that do not, in order."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(windows):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return found


def _within(windows: Sequence[tuple[int, int]], start: int, end: int) -> int:
    """Nanoseconds of the time from ``start`` to ``end`` that lie in one of them."""
    spent = 0
    for number in range(bisect_right(windows, start, key=lambda each: each[1]), len(windows)):
        first, last = windows[number]
        if first >= end:
            break
        spent += min(last, end) - max(first, start)
    return spent


def _operation(scene: Scene, trace: Trace[Span], span: Span) -> str:
    root = trace.root
    if trace is scene.trace or root is None or root is span:
        return call(span)
    return f"{call(span)} of {named(root.name)}"
