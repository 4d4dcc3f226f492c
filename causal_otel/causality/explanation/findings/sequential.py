"""Calls to different places, one straight after the other: if none needs another, they could run at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.findings.finding import Finding, call, finding
from causal_otel.causality.explanation.findings.statements import place
from causal_otel.causality.spans.parts import begin
from causal_otel.names import CAUSAL_CANCELLED, DB_OPERATION_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from causal_otel.causality.explanation.scene import Scene
    from causal_otel.causality.spans import Span

__all__ = ["find"]

_LEAST_SHARE = 0.05
_GAP_NANOSECONDS, _GAP_SHARE = 1_000_000, 0.02
"""What may lie between two calls: no more than it takes to make the next one."""

_SHOWN = 3
_PLUMBING = frozenset(
    {"ACQUIRE", "BEGIN", "CLOSE", "COMMIT", "CONNECT", "OPEN POOL", "PREPARE", "RELEASE", "RESET", "ROLLBACK"}
)


def find(scene: Scene) -> Iterator[Finding]:
    """One for each run of such calls, with what could be saved: all of it but the longest."""
    for parent in scene.spans:
        for calls in _runs(parent.children):
            longest = max(span.duration for span in calls)
            saving = sum(span.duration for span in calls) - longest
            if scene.share(saving, begin(calls[0])) >= _LEAST_SHARE:
                said = (
                    f"{_listed(calls)} ran one after another: if none of them needs what another brings, "
                    f"running them at once may save up to {format_duration(saving)}"
                )
                yield finding(scene, "sequential", said, saving, calls)


def _runs(children: Sequence[Span]) -> Iterator[list[Span]]:
    """Two calls or more of one task, to another place each time, with nothing between them."""
    run: list[Span] = []
    # What runs beside it is neither before nor after it.
    for span in sorted(children, key=lambda each: (each.start, each.end, each.span_id)):
        if run and _follows(run[-1], span):
            run.append(span)
            continue
        if len(run) > 1:
            yield run
        run = [span] if _is_call(span) else []
    if len(run) > 1:
        yield run


def _follows(before: Span, span: Span) -> bool:
    gap = span.start - before.end
    allowed = max(_GAP_NANOSECONDS, _GAP_SHARE * (before.duration + span.duration))
    return _is_call(span) and span.task == before.task and 0 <= gap <= allowed and place(span) != place(before)


def _is_call(span: Span) -> bool:
    if span.kind != "client" or span.detached or span.error or CAUSAL_CANCELLED in span.attributes:
        return False
    return span.attributes.get(DB_OPERATION_NAME) not in _PLUMBING


def _listed(calls: Sequence[Span]) -> str:
    said = [f"{call(span)} ({format_duration(span.duration)})" for span in calls[:_SHOWN]]
    if len(calls) > _SHOWN:
        said.append(f"{len(calls) - _SHOWN} more")
    return f"{', '.join(said[:-1])} and {said[-1]}"
