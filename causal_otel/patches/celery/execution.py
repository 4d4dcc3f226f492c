"""Celery's worker: one CONSUMER span for each execution of a task, whichever process ends it."""

from __future__ import annotations

import functools
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, INVALID_SPAN_CONTEXT, SpanKind

from causal_otel import names
from causal_otel._internal import faults
from causal_otel.engine import carriers, outcome
from causal_otel.engine.context import attach, current, is_recorded, with_span
from causal_otel.instrument.errors import error_name
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.tracing import Tracing
from causal_otel.patches.celery.attributes import execution_attributes, headers_of
from causal_otel.patches.celery.pool_table import Attempt, PoolAttempts, is_terminated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celery.app.task import Context as Request
    from opentelemetry.trace import Span

    from causal_otel.engine.context import Activation

__all__ = ["begin_execution", "end_execution", "wrap_on_failure"]

_EXECUTION = "_causal_otel_execution"
"""The attribute of a task's request that holds its :class:`_Execution`."""

_REPORTED = "_causal_otel_reported"
"""The attribute of the main process's request for an execution that it has ended."""

_NOT_RECORDED = (INVALID_SPAN_CONTEXT.trace_id, INVALID_SPAN_CONTEXT.span_id)
"""The identity of an execution that is measured, perhaps, but has no span."""

_attempts = PoolAttempts()
"""Made with the module, which is imported in the main process before it forks."""


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


def _parent(tracing: Tracing[Any], headers: Mapping[str, Any]) -> Context:
    """The context that a message's headers tell of, and nothing of what is current in the worker."""
    texts = {key: value for key, value in headers.items() if isinstance(value, str)}
    tracing.border.admit(texts)
    return carriers.extract(texts, Context())


def begin_execution(tracing: Tracing[Any], task: Any) -> None:
    """``task_prerun``: called just before the task's code, in its thread."""
    request: Request = task.request
    headers: dict[str, Any] = {}
    if request.is_eager:
        context = current()
    else:
        headers = headers_of(request)
        context = _parent(tracing, headers)
    running = None
    recorded = is_recorded(context, roots=True)
    if tracing.excluded is not None and tracing.excluded(task.name):
        context = with_span(tracing.start_excluded(context), context)
    elif recorded or not (request.is_eager or tracing.drops_unsampled()) or tracing.measurable():
        attributes = execution_attributes(task.app, task.name, request, headers, time.time())
        operation = Operation(f"process {task.name}", attributes, kind=SpanKind.CONSUMER)
        started = tracing.begin(operation, objects=(task, request), parent=context)
        if recorded or started.span.is_recording():
            context = with_span(started.span, context)
            running = started
        elif started.is_observed():
            running = started
    if not request.is_eager and _attempts.watched():
        if running is None:
            _attempts.skip(str(request.id))
        else:
            span = running.span
            at = getattr(span, "start_time", None) or time.time_ns()
            known = span.get_span_context() if span.is_recording() else INVALID_SPAN_CONTEXT
            _attempts.begin(str(request.id), known, at)
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
    if not request.is_eager and _attempts.watched():
        if isinstance(error, SystemExit) and is_terminated():
            return  # the main process knows why this one was told to end, and ends the span
        if not _attempts.end(str(request.id)):
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
        _fail(tracing, running, error)
    running.end(retval if error is None else error)  # for observers; a failure has been recorded above


def _fail(tracing: Tracing[Any], running: Running, error: BaseException) -> None:
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


# -- executions that their process does not end -----------------------------------------------------------------------


def wrap_on_failure(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """The main process learns here of everything that keeps a process of the pool from ending a task itself.

    Meanwhile the execution is current, so that what Celery publishes then (error callbacks, a retry) is below it.
    """

    @functools.wraps(original)
    def on_failure(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        begun = None
        if tracing.active:
            try:
                begun = _begin_report(tracing, self, args, kwargs)
            except Exception:
                faults.report("celery: on_failure")
        if begun is None:
            return original(self, *args, **kwargs)
        running, context, start, error = begun
        now = time.time_ns()
        activation = attach(context if running.span is INVALID_SPAN else with_span(running.span, context))
        try:
            return original(self, *args, **kwargs)
        finally:
            activation.end()
            try:
                running.end(error, at=now, duration=max(now - start, 0))
            except Exception:
                faults.report("celery: on_failure")

    return on_failure


def _begin_report(
    tracing: Tracing[Any], job: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Running, Context, int, BaseException] | None:
    """An execution whose process has been lost, all but ended, its parent's context, when it began, and what ended it.

    None: the process has ended it, or it is neither recorded nor measured.

    Args:
        tracing: the patch's handle.
        job: the main process's ``celery.worker.request.Request``.
        args: of ``on_failure``: ``exc_info``, ``send_failed_event``, ``return_ok``.
        kwargs: likewise.
    """
    from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
    from celery.app.task import Context as Request

    exc_info = args[0] if args else kwargs["exc_info"]
    error = exc_info.exception
    error = getattr(error, "exc", error)  # billiard keeps it in an ExceptionWithTraceback
    returned = args[2] if len(args) > 2 else kwargs.get("return_ok", False)
    if returned or not isinstance(error, Terminated | TimeLimitExceeded | WorkerLostError):
        return None
    pid = getattr(job, "worker_pid", None)
    if pid == os.getpid() or getattr(job, _REPORTED, False):
        return None
    setattr(job, _REPORTED, True)
    task = job.task
    attempt = _attempts.give_up(pid, str(job.id)) if pid else True
    if not attempt or (tracing.excluded is not None and tracing.excluded(task.name)):
        return None
    request = Request(job.request_dict)
    headers = headers_of(request)
    context = _parent(tracing, headers)
    if isinstance(attempt, Attempt):
        start, identity = attempt.start, (attempt.trace_id, attempt.span_id)
    else:
        start, identity = int((getattr(job, "time_start", None) or time.time()) * 1e9), None
    attributes = execution_attributes(job.app, task.name, request, headers, start / 1e9)
    if not isinstance(error, Terminated):
        attributes[names.CELERY_TASK_STATE] = "FAILURE"
    elif not getattr(job, "_already_cancelled", False):  # else the broker delivers it again
        attributes[names.CELERY_TASK_STATE] = "REVOKED"
    operation = Operation(f"process {task.name}", attributes, kind=SpanKind.CONSUMER)
    span: Span = INVALID_SPAN
    if identity != _NOT_RECORDED:
        span = tracing.adopt(operation.name, operation.kind, attributes, context, identity, start)
    running = tracing.running(operation, span, objects=(task, request))
    _fail(tracing, running, error)
    return running, context, start, error
