"""The critical path: what the end of a trace, or of a span, was waiting for, found from the end backwards.

    for segment in critical_path(trace):
        print(segment.span.name, segment.duration)

The path is in one span at a time, as a task is, and goes back to

* the span of the same task that ended last before, or the task that ended last of those that it waited for, where spans
  have the numbers of their tasks (``causal.task``, ``causal.task.waiter``);
* the child that ended last before, where they have none: a guess, and each segment says so (:data:`Via`);
* what a link says that the span was waiting for, once the path is at the start of the span;
* else the span that it was started in.

What each step does in detail, and what it cannot know, is told in
``docs/explanation/decisions/0080-the-critical-path-follows-tasks.md``.
"""

from __future__ import annotations

from causal_otel.causality.critical_path.segments import Segment, Until, Via, time_on_path
from causal_otel.causality.critical_path.task_runs import TaskRun, task_runs
from causal_otel.causality.critical_path.walk import critical_path

__all__ = ["Segment", "TaskRun", "Until", "Via", "critical_path", "task_runs", "time_on_path"]
