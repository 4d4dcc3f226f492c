"""Tasks that nobody waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.findings.finding import Finding, finding
from causal_otel.causality.explanation.targets import named
from causal_otel.names import CAUSAL_TASK_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.causality.explanation.scene import Scene

__all__ = ["find"]


def find(scene: Scene) -> Iterator[Finding]:
    """One for each: what it fails with is lost, and it may go on after the answer."""
    answered = scene.answer.end
    for span in scene.spans:
        if span.unawaited:
            task = span.attributes.get(CAUSAL_TASK_NAME)
            name = f"{named(span.name)} in the task {named(str(task))}" if task else named(span.name)
            late = span.end - answered
            after = f", until {format_duration(late)} after the answer" if late > 0 and scene.answer.nanoseconds else ""
            said = f"nobody awaited {name}, {format_duration(span.duration)}{after}"
            yield finding(scene, "unawaited_task", said, span.duration, [span])
