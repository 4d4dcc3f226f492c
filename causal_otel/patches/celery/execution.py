"""Celery's worker: one CONSUMER span for each execution of a task, whichever process ends it."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanKind

from causal_otel import names
from causal_otel.engine import outcome
from causal_otel.engine.context import attach, current, is_recorded, with_span
from causal_otel.instrument.errors import error_name
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.tracing import Tracing
from causal_otel.patches.celery.attributes import execution_attributes, headers_of
from causal_otel.patches.celery.edges import joined
from causal_otel.patches.celery.pool_table import ATTEMPTS, is_terminated

if TYPE_CHECKING:
    from celery.app.task import Context as Request

    from causal_otel.engine.context import Activation

__all__ = ["begin_execution", "end_execution", "fail"]

_EXECUTION = "_causal_otel_execution"
"""The attribute of a task's request that holds its :class:`_Execution`."""


class _Execution:
    """What lasts from ``task_prerun`` to ``task_postrun``, kept on the task's request.

    Attributes:
        running: the operation; None: it is neither recorded nor measured.
        activation: what is current for the task.
        handled: the exception that was being handled when it began, as in a task applied in an ``except`` block.
    """

    __slots__ = ("activation", "handled", "running")

    def __init__(self, running: Running | None, activation: Activation) -> None:
        self.running = running
        self.activation = activation
        self.handled = sys.exception()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copied or pickled request leaves it behind: None."""
        return type(None), ()


def begin_execution(tracing: Tracing[Any], task: Any) -> None:
    """``task_prerun``: called just before the task's code, in its thread."""
    request: Request = task.request
    headers: dict[str, Any] = {}
    links = None
    if request.is_eager:
        context = current()
    else:
        headers = headers_of(request)
        context, links = joined(tracing, task.name, headers)
    running = None
    recorded = is_recorded(context, roots=True)
    if tracing.excluded is not None and tracing.excluded(task.name):
        context = with_span(tracing.start_excluded(context), context)
    elif recorded or not (request.is_eager or tracing.drops_unsampled()) or tracing.measurable():
        attributes = execution_attributes(task.app, task.name, request, headers, time.time())
        operation = Operation(f"process {task.name}", attributes, kind=SpanKind.CONSUMER)
        started = tracing.begin(operation, objects=(task, request), parent=context, links=links)
        if recorded or started.span.is_recording():
            context = with_span(started.span, context)
            running = started
        elif started.is_observed():
            running = started
    if not request.is_eager and ATTEMPTS.watched():
        if running is None:
            ATTEMPTS.skip(str(request.id))
        else:
            span = running.span
            at = getattr(span, "start_time", None) or time.time_ns()
            known = span.get_span_context() if span.is_recording() else INVALID_SPAN_CONTEXT
            ATTEMPTS.begin(str(request.id), known, at)
    setattr(request, _EXECUTION, _Execution(running, attach(context)))


def end_execution(tracing: Tracing[Any], task: Any, state: str | None, retval: Any) -> None:
    """``task_postrun``: called in a ``finally``, whatever ended the task."""
    request: Request = task.request
    execution: _Execution | None = vars(request).pop(_EXECUTION, None)
    if execution is None:
        return
    execution.activation.end()
    running = execution.running
    if running is None:
        return
    # An exception that is leaving the task: then there is no state, or one that is out of date.
    error = sys.exception()
    if error is execution.handled and state is not None:
        error = None
    if not request.is_eager and ATTEMPTS.watched():
        if isinstance(error, SystemExit) and is_terminated():
            return  # the main process knows why this one was told to end, and ends the span
        if not ATTEMPTS.end(str(request.id)):
            return
    if error is not None and not outcome.is_cancellation(error) and not _is_expected(task, error):
        state = "FAILURE"
    elif error is None and state == "FAILURE" and isinstance(retval, BaseException):
        error = retval
    learned = {} if state is None else {names.CELERY_TASK_STATE: state}
    reason = getattr(retval, "exc", None) if state == "RETRY" else None
    if isinstance(reason, BaseException):
        learned[names.CELERY_TASK_RETRY_REASON] = error_name(reason)
    if learned:
        running.learn(learned)
    if error is not None and not _is_expected(task, error):
        fail(tracing, running, error)
    running.end(retval if error is None else error)  # for observers; a failure has been recorded above


def fail(tracing: Tracing[Any], running: Running, error: BaseException) -> None:
    """Say why an execution failed. What else ends a task than an ``Exception`` is a failure, too."""
    if outcome.is_cancellation(error):
        running.learn({names.CAUSAL_CANCELLED: True})
        return
    tracing.record_exception(running.span, error)
    running.fail(error_name(error), type(error).__name__)


def _is_expected(task: Any, error: BaseException) -> bool:
    """Whether ``error`` is one that the task announced, or a way to say retry, ignore or reject."""
    from celery.exceptions import TaskPredicate

    return isinstance(error, (TaskPredicate, task.throws))
