"""What is special about a span, in a word or two behind its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from causal_otel.causality.explanation.targets import named
from causal_otel.collector.web.legend import TASK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from causal_otel.causality.critical_path import TaskRun
    from causal_otel.collector.analysis import Explained, SpanView

__all__ = ["Flag", "flags", "task_says"]

_LONGEST_MESSAGE = 500


class Flag(NamedTuple):
    """Its CSS class, what it says, and what that means."""

    kind: str
    text: str
    meaning: str


def flags(explained: Explained) -> Callable[[SpanView], tuple[Flag, ...]]:
    """What tells the flags of each span of a trace."""
    runs = {span.index: run for run in explained.tasks for span in run.spans}

    def of(span: SpanView) -> tuple[Flag, ...]:
        run = runs.get(span.index)
        if run is None and not _is_special(span):
            return ()
        return (*_errors(span), *(() if run is None else _task(span, run, runs)), *_others(span))

    return of


def task_says(run: TaskRun[SpanView]) -> str:
    """The task's number and name."""
    return f"{run.number} {named(run.name)}" if run.name else str(run.number)


def _is_special(span: SpanView) -> bool:
    return bool(span.error or span.errors_below or span.orphan or span.detached or span.warnings)


def _errors(span: SpanView) -> Iterator[Flag]:
    if span.error:
        yield Flag("error", "error", span.status_message[:_LONGEST_MESSAGE] or "its status is an error")
    if span.errors_below:  # shown while it is collapsed
        yield Flag("error below", f"{span.errors_below} below", "spans below it have failed")


def _task(span: SpanView, run: TaskRun[SpanView], runs: dict[int, TaskRun[SpanView]]) -> Iterator[Flag]:
    """Where it ran in another task than the span above it; at the task's end, whether nobody waited for it."""
    above = None if span.parent is None or span.local_root else runs.get(span.parent.index)
    if above is not run and not run.main:
        started = "" if run.started_in is None else f", started in {named(run.started_in.name)}"
        waited = "" if run.waiter is None else f"; task {run.waiter} waited for it"
        yield Flag(TASK, f"#{task_says(run)}", f"it ran in an asyncio task of its own{started}{waited}")
    if span is run.last and run.fate == "unawaited":
        yield Flag("warning", "not awaited", "nobody waited for its task, which has outlived the span that started it")


def _others(span: SpanView) -> Iterator[Flag]:
    if span.detached:
        yield Flag("detached", "detached", "nobody waited for it")
    if span.orphan:
        yield Flag("warning", "orphan", "the span that it names as its parent is not here")
    elif span.skew:
        yield Flag("warning", "clock", "; ".join(span.warnings) or "its clock differs, as its parent's does")
    elif span.warnings:
        yield Flag("warning", "warning", "; ".join(span.warnings))
