"""Tasks that nobody waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from causal_otel._internal.durations import format_duration
from causal_otel.causality.explanation.findings.finding import Finding, alike, call, finding, times
from causal_otel.causality.spans.parts import end
from causal_otel.causality.spans.sequences import together
from causal_otel.causality.spans.targets import named
from causal_otel.names import CAUSAL_TASK_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from causal_otel.causality.explanation.scene import Scene

__all__ = ["find"]


def find(scene: Scene) -> Iterator[Finding]:
    """One for each kind: what such a task fails with is lost, and it may go on after the answer."""
    answered = scene.answer.end
    for spans in alike(span for span in scene.spans if span.unawaited):
        task = spans[0].attributes.get(CAUSAL_TASK_NAME) if len(spans) == 1 else None
        name = f"{call(spans[0])}{times(spans)}" + (f" in the task {named(str(task))}" if task else "")
        late = max(map(end, spans)) - answered
        after = f", until {format_duration(late)} after the answer" if late > 0 and scene.answer.nanoseconds else ""
        spent = together(spans)
        said = f"nobody awaited {name}, {format_duration(spent)}{after}"
        yield finding(scene, "unawaited_task", said, spent, spans)
