"""The asyncio tasks of a trace for people to look at: which spans ran in them, who started them and who waited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal

from causal_otel.causality.critical_path.forest import NOBODY, forest
from causal_otel.causality.critical_path.tasks import Task, tasks
from causal_otel.causality.spans import SpanT
from causal_otel.names import CAUSAL_TASK_NAME

if TYPE_CHECKING:
    from causal_otel.causality.critical_path.forest import Forest
    from causal_otel.causality.critical_path.tasks import Tasks
    from causal_otel.causality.spans import Trace

__all__ = ["TaskRun", "task_runs"]

_LONGEST_NAME = 60


@dataclass(frozen=True, eq=False, slots=True)
class TaskRun(Generic[SpanT]):
    """A task within one process's part of a trace.

    Attributes:
        number: ``causal.task``, unique within that part.
        name: the one that the application gave it; empty: it gave none.
        main: whether it is that part's first span's own.
        spans: those that ran in it, in the order of the trace.
        first: of those that are in no other of its spans, the one that started first.
        last: of these, the one that ended last.
        started_in: the span that was current when it was started; None for a main task.
        fate: ``awaited``; ``unawaited``, nobody waited for it; or ``unknown``, which a main task's is.
        waiter: the number of the task that waited for it.
        waited_in: the span in which that was, as far as it is known.
    """

    number: int
    name: str
    main: bool
    spans: tuple[SpanT, ...]
    first: SpanT
    last: SpanT
    started_in: SpanT | None
    fate: Literal["awaited", "unawaited", "unknown"]
    waiter: int | None
    waited_in: SpanT | None

    @property
    def title(self) -> str:
        """Its number, and its name if it has one: ``2 refresh``."""
        return f"{self.number} {self.name[:_LONGEST_NAME]}" if self.name else str(self.number)


def task_runs(trace: Trace[SpanT]) -> list[TaskRun[SpanT]]:
    """The tasks of those processes that tell of theirs, in the order of the trace; mostly there are none."""
    if not any(span.task is not None or span.waiter is not None or span.unawaited for span in trace.spans):
        return []
    found = forest([trace])
    known = tasks(found)
    waiting = {id(task): inside for task, inside in known.waiting(found)}
    return [
        _run(found, known, task, waiting.get(id(task), NOBODY))
        for task in known.all
        if task.spans and known.known[task.local_root]
    ]


def _run(found: Forest[SpanT], known: Tasks, task: Task, inside: int) -> TaskRun[SpanT]:
    spans = found.spans
    tops = [each for each in task.spans if known.inside[each] == NOBODY]
    waiter = task.waiter
    if waiter is not None and inside == NOBODY and not waiter.main:  # between its spans it is in none of its own
        inside = waiter.home
    return TaskRun(
        number=task.number,
        name=next((name for each in tops if (name := _name(spans[each].attributes))), ""),
        main=task.main,
        spans=tuple(spans[each] for each in task.spans),
        first=spans[min(tops, key=lambda each: (found.start[each], each))],
        last=spans[max(tops, key=lambda each: (found.end[each], -each))],
        started_in=None if task.main or task.home == NOBODY else spans[task.home],
        fate=task.fate,
        waiter=None if waiter is None else waiter.number,
        waited_in=None if inside == NOBODY else spans[inside],
    )


def _name(attributes: Any) -> str:
    return str(attributes.get(CAUSAL_TASK_NAME) or "")
