"""Attempts that end in the worker's main process, because the process that executes them does not live to end them."""

from __future__ import annotations

import functools
import os
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import INVALID_SPAN, INVALID_SPAN_CONTEXT, SpanKind

from causal_otel import names
from causal_otel._internal import faults
from causal_otel.engine.context import attach, with_span
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.tracing import Tracing
from causal_otel.patches.celery.attributes import execution_attributes, headers_of
from causal_otel.patches.celery.edges import joined
from causal_otel.patches.celery.execution import fail
from causal_otel.patches.celery.pool_table import ATTEMPTS, Attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

__all__ = ["wrap_on_failure"]

_REPORTED = "_causal_otel_reported"
"""The attribute of the main process's request for an execution that it has ended."""

_NOT_RECORDED = (INVALID_SPAN_CONTEXT.trace_id, INVALID_SPAN_CONTEXT.span_id)
"""The identity of an execution that is measured, perhaps, but has no span."""


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
    attempt = ATTEMPTS.give_up(pid, str(job.id)) if pid else True
    if not attempt or (tracing.excluded is not None and tracing.excluded(task.name)):
        return None
    request = Request(job.request_dict)
    headers = headers_of(request)
    context, _ = joined(tracing, task.name, headers)
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
    fail(tracing, running, error)
    return running, context, start, error
