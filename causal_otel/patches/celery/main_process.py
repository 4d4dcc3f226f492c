"""Attempts that end in the worker's main process, since the process of the pool does not live to end them.

Celery learns of all of them in ``Request.on_failure``, and of a hard time limit in ``Request.on_timeout`` as well. What
it publishes meanwhile (error callbacks, the body of a chord, a retry) is below the attempt.
"""

from __future__ import annotations

import functools
import os
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
)

from causal_otel import names
from causal_otel._internal import faults
from causal_otel.engine.context import attach, current_span, with_span
from causal_otel.instrument.errors import error_name
from causal_otel.instrument.operation import Operation
from causal_otel.patches.celery.attempt import ATTEMPT, Attempt
from causal_otel.patches.celery.attributes import attempt_attributes, execution_attributes
from causal_otel.patches.celery.canvas import CHORD_UNLOCK
from causal_otel.patches.celery.edges import joined
from causal_otel.patches.celery.headers import PUBLISHED, field
from causal_otel.patches.celery.identity import identity_of
from causal_otel.patches.celery.outcome import REQUEUED, TERMINATED, fail
from causal_otel.patches.celery.pool_table import ATTEMPTS
from causal_otel.patches.celery.waits import RECEIVED, receipt, waits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celery import Celery
    from opentelemetry.trace import Span

    from causal_otel.instrument.operation import Running
    from causal_otel.instrument.tracing import Tracing
    from causal_otel.patches.celery.pool_table import Attempt as InTable

__all__ = ["LostAttempt", "end_lost", "lost_attempt", "operation_of", "wrap_on_failure", "wrap_on_timeout"]

_NOT_RECORDED = (INVALID_SPAN_CONTEXT.trace_id, INVALID_SPAN_CONTEXT.span_id)
"""The identity of an attempt that is measured, perhaps, but has no span."""
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_EXITS = (SystemExit, KeyboardInterrupt)

_CANCELLED = {names.CELERY_TASK_STATE: "RETRY"}
"""Of an attempt that Celery has cancelled, as at a cold shutdown, and calls a retry."""

_LOST = "_causal_otel_lost"
"""The attribute of the main process's request for the context of an attempt that it has ended."""


_WATCHED = ("reject", "_retry_worker_lost", "_success_was_stored")
"""Methods of the main process's request whose calls tell what becomes of a lost attempt; Celery 5.3 has the first."""


class LostAttempt:
    """An attempt whose process has been lost.

    Attributes:
        error: what has ended it.
        start: when it began, in Unix nanoseconds.
        end: when it was over, likewise.
        running: the operation, which is still to be ended; None: the process has done so, or nobody wants to know.
        context: what is current while Celery deals with it.
    """

    __slots__ = ("context", "end", "error", "running", "start")

    def __init__(self, error: BaseException, start: int, end: int, running: Running | None, context: Context) -> None:
        self.error = error
        self.start = start
        self.end = end
        self.running = running
        self.context = context


def wrap_on_failure(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """The main process learns here of everything that keeps a process of the pool from ending a task itself."""

    @functools.wraps(original)
    def on_failure(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        lost = None
        answers: dict[str, Any] = {}
        if tracing.active:
            try:
                lost = _begin(tracing, self, args, kwargs)
                if lost is not None:
                    _watch(self, answers)
            except Exception:
                faults.report("celery: on_failure")
        if lost is None:
            return original(self, *args, **kwargs)
        activation = attach(lost.context)
        try:
            return original(self, *args, **kwargs)
        finally:
            activation.end()
            try:
                for method in _WATCHED:
                    vars(self).pop(method, None)
                if lost.running is not None:
                    end_lost(tracing, lost, lost.running, _state(self, lost.error, answers))
            except Exception:
                faults.report("celery: on_failure")

    return on_failure


def wrap_on_timeout(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Called after ``on_failure`` where a hard time limit is over: what the task does about it is below the attempt."""

    @functools.wraps(original)
    def on_timeout(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        context = vars(self).get(_LOST)
        if context is None or not tracing.active:
            return original(self, *args, **kwargs)
        activation = attach(context)
        try:
            return original(self, *args, **kwargs)
        finally:
            activation.end()

    return on_timeout


def _begin(tracing: Tracing[Any], job: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LostAttempt | None:
    """An attempt whose process has been lost; None: none has.

    Args:
        tracing: the patch's handle.
        job: the main process's ``celery.worker.request.Request``.
        args: of ``on_failure``: ``exc_info``, ``send_failed_event``, ``return_ok``.
        kwargs: likewise.
    """
    pid = job.worker_pid
    error = _loss(args, kwargs)
    if error is None or pid == os.getpid() or _LOST in vars(job):
        return None
    found = ATTEMPTS.give_up(pid, str(job.id)) if pid else None
    if found is None and isinstance(error, _EXITS):
        return None  # the task has raised it, in a process that does not share the table
    lost = lost_attempt(tracing, job, found, error, _ended(job))
    (job.request_dict.get("delivery_info") or {}).pop(RECEIVED, None)  # Celery may publish what is left of it
    setattr(job, _LOST, lost.context)
    return lost


def lost_attempt(tracing: Tracing[Any], job: Any, found: InTable | None, error: BaseException, end: int) -> LostAttempt:
    """An attempt that is ended here, with its span unless nobody wants it.

    Args:
        tracing: the patch's handle.
        job: the main process's ``celery.worker.request.Request``.
        found: what the table says of it.
        error: what has ended it.
        end: when it was over, in Unix nanoseconds.
    """
    if found is not None:
        start = found.start
    else:
        start = min(end, int(job.time_start * 1e9)) if job.time_start else end
    request: dict[str, Any] = job.request_dict
    name: str = job.task.name
    parent, links = joined(tracing, name, request)
    running = None
    if name == CHORD_UNLOCK:
        span: Span = current_span(parent) or INVALID_SPAN
    elif tracing.excluded is not None and tracing.excluded(name):
        span = tracing.start_excluded(parent)
    elif found is None or found.open:
        operation = operation_of(job.app, name, request, start)
        identity = identity_of(parent, request) if found is None else (found.trace_id, found.span_id)
        span = INVALID_SPAN
        if identity != _NOT_RECORDED:
            span = tracing.adopt(operation.name, operation.kind, operation.attributes, parent, identity, start, links)
        running = tracing.running(operation, span, objects=(job.task, job._context))
    else:
        span = NonRecordingSpan(SpanContext(found.trace_id, found.span_id, True, _SAMPLED))
    context = Context({**parent, ATTEMPT: Attempt(name, request, running)})
    if span.get_span_context().is_valid:
        context = with_span(span, context)
    return LostAttempt(error, start, end, running, context)


def _loss(args: tuple[Any, ...], kwargs: dict[str, Any]) -> BaseException | None:
    """What has ended a process of the pool; None: nothing has, the task itself has failed."""
    if args[2] if len(args) > 2 else kwargs.get("return_ok", False):
        return None
    from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError

    error = (args[0] if args else kwargs["exc_info"]).exception
    error = getattr(error, "exc", error)  # billiard keeps it in an ExceptionWithTraceback
    return error if isinstance(error, (*_EXITS, Terminated, TimeLimitExceeded, WorkerLostError)) else None


def _ended(job: Any) -> int:
    """When the process was found dead, in Unix nanoseconds: for ten seconds more, Celery waits for a result of it."""
    now = time.time_ns()
    reference = job._apply_result
    result = None if reference is None else reference()
    found = getattr(result, "_worker_lost", None)
    if isinstance(found, tuple) and found and isinstance(found[0], float):
        now -= max(0, int((time.monotonic() - found[0]) * 1e9))
    return now


def operation_of(app: Celery, name: str, request: dict[str, Any], at: int) -> Operation:
    """What a message that ends in the main process was received for.

    Args:
        app: the application.
        name: the task's name; empty: it has none.
        request: what is known of the message: its headers and its delivery.
        at: when it had done waiting, in Unix nanoseconds.
    """
    delivery = request.get("delivery_info") or {}
    exchange, routing_key = delivery.get("exchange"), delivery.get("routing_key")
    shared = execution_attributes(app, name, exchange, routing_key, request.get("hostname") or "")
    published = field(request, PUBLISHED)
    waited = waits(app, request.get("eta"), published, receipt(request), at / 1e9)
    attributes = {**shared, **attempt_attributes(request), **waited}
    attributes = {key: value for key, value in attributes.items() if value not in (None, "")}
    target = name or attributes.get(names.MESSAGING_DESTINATION_NAME, "message")
    return Operation(f"process {target}", attributes, kind=SpanKind.CONSUMER)


def _watch(job: Any, answers: dict[str, Any]) -> None:
    """Note in ``answers`` what the methods of ``job`` return that Celery asks; of ``reject``, whether it requeues."""

    def watched(method: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            answer = original(*args, **kwargs)
            answers[method] = answer if method != "reject" else args[0] if args else kwargs.get("requeue", False)
            return answer

        return call

    for method in _WATCHED:
        original = getattr(job, method, None)
        if original is not None:
            setattr(job, method, watched(method, original))


def _state(job: Any, error: BaseException, answers: Mapping[str, Any]) -> dict[str, Any]:
    """What Celery has made of a lost attempt, as attributes."""
    from billiard.exceptions import Terminated

    if answers.get("_success_was_stored"):
        return {names.CELERY_TASK_STATE: "SUCCESS"}
    if isinstance(error, Terminated) or job._already_revoked or job._already_cancelled:
        return _CANCELLED if job._already_cancelled else TERMINATED
    if answers.get("_retry_worker_lost"):
        return {names.CELERY_TASK_STATE: "RETRY", names.CELERY_TASK_RETRY_REASON: error_name(error)}
    return REQUEUED if answers.get("reject") else {names.CELERY_TASK_STATE: "FAILURE"}


def end_lost(tracing: Tracing[Any], lost: LostAttempt, running: Running, state: dict[str, Any]) -> None:
    """End the span of a lost attempt: ``state`` is what Celery has made of it, as attributes."""
    running.learn(state)
    if state[names.CELERY_TASK_STATE] == "SUCCESS":
        tracing.record_exception(running.span, lost.error)  # it was lost afterwards
    else:
        fail(tracing, running, lost.error)
    running.end(lost.error, at=lost.end, duration=max(lost.end - lost.start, 0))
