"""N+1: the same statement again and again, one after the other, where one for all would do."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.findings.finding import Finding, call, finding, together
from causal_otel.causality.explanation.findings.statements import Statement, origin, statement
from causal_otel.causality.explanation.parts import begin

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from causal_otel.causality.explanation.scene import Scene
    from causal_otel.causality.spans import Span

__all__ = ["find", "series"]

_LEAST = 5
_LEAST_SHARE = 0.01
_OVERLAP = 1.1
"""How much longer than together they may have taken one by one: whoever asks for several at once has thought of it."""


def find(scene: Scene) -> Iterator[Finding]:
    """One for each statement that one span has issued many times, with where the code did so."""
    for spans in series(scene):
        spent = together(spans)
        if scene.share(spent, begin(spans[0])) >= _LEAST_SHARE:
            said = f"{call(spans[0])} ×{len(spans)} one after another, {format_duration(spent)}{origin(spans[0])}: N+1"
            yield finding(scene, "n_plus_one", said, spent, spans)


def series(scene: Scene) -> Iterator[list[Span]]:
    """The calls of each statement that one parent has made many times, one after the other; in the trace's order."""
    for spans in _groups(scene):
        spans.sort(key=lambda span: (span.start, span.end, span.span_id))
        if len(spans) >= _LEAST and sum(span.duration for span in spans) <= _OVERLAP * together(spans):
            yield spans


def _groups(scene: Scene) -> Iterator[list[Span]]:
    """The calls of one statement below one parent, or each below a span of its own of one name below one parent."""
    direct: defaultdict[tuple[int, Statement], list[Span]] = defaultdict(list)
    for span in scene.spans:
        if span.kind == "client" and span.parent is not None:
            direct[span.parent.index, statement(span)].append(span)
    spread: defaultdict[Hashable, list[Span]] = defaultdict(list)
    for (_, what), spans in direct.items():
        parent = spans[0].parent
        if len(spans) >= _LEAST:
            yield spans
        elif _alone(spans) and parent is not None and parent.parent is not None:
            spread[parent.parent.index, parent.name, what].append(spans[0])
    yield from spread.values()


def _alone(spans: Sequence[Span]) -> bool:
    return len(spans) == 1 and spans[0].parent is not None and spans[0].parent.kind == "internal"
