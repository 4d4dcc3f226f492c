"""N+1: the same statement again and again, one after the other, where one for all would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.findings.finding import Finding, call, finding
from causal_otel.causality.explanation.findings.statements import origin, statement
from causal_otel.causality.spans.parts import begin
from causal_otel.causality.spans.sequences import one_after_another, together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.causality.explanation.scene import Scene
    from causal_otel.causality.spans import Span

__all__ = ["find", "series"]

_LEAST = 5
_LEAST_SHARE = 0.01


def find(scene: Scene) -> Iterator[Finding]:
    """One for each statement that one span has issued many times, with where the code did so."""
    for spans in series(scene):
        spent = together(spans)
        if scene.share(spent, begin(spans[0])) >= _LEAST_SHARE:
            said = f"{call(spans[0])} ×{len(spans)} one after another, {format_duration(spent)}{origin(spans[0])}: N+1"
            yield finding(scene, "n_plus_one", said, spent, spans)


def series(scene: Scene) -> Iterator[list[Span]]:
    """The calls of each statement that one parent has made many times, one after the other; in the trace's order."""
    return one_after_another(scene.spans, statement, _LEAST)
