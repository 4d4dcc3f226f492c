"""How an attempt at a task ended, in the process that executed it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from causal_otel import names
from causal_otel.engine import outcome
from causal_otel.instrument.errors import error_name

if TYPE_CHECKING:
    from causal_otel.instrument.operation import Running
    from causal_otel.instrument.tracing import Tracing

__all__ = ["REQUEUED", "TERMINATED", "end_with", "end_with_error", "fail"]

_REASON_LENGTH = 256
"""How many characters of the text that a task gives for its retry are recorded."""
TERMINATED = {names.CELERY_TASK_STATE: "REVOKED", names.CELERY_TASK_REVOKE_REASON: "terminated"}
"""Of an attempt that was revoked while it ran. Nobody changes it."""
REQUEUED = {names.CELERY_TASK_STATE: "REJECTED", names.CELERY_TASK_REJECT_REQUEUE: True}
"""Of an attempt that was lost and is made again. Likewise."""
_SUCCESS = {names.CELERY_TASK_STATE: "SUCCESS"}


def end_with(tracing: Tracing[Any], running: Running, task: Any, done: Any) -> None:
    """End the span of an attempt whose tracer has returned.

    Args:
        tracing: the patch's handle.
        running: the operation.
        task: the task.
        done: Celery's ``trace_ok_t``: ``retval``, ``info`` (None: nothing but success), ``runtime``, ``retstr``.
    """
    result, info, runtime, _ = done
    if info is None:
        if runtime is not None:
            running.learn(_SUCCESS)
            running.end(result)
        elif result is None:  # worker_deduplicate_successful_tasks: an earlier delivery has succeeded
            running.learn({names.CELERY_TASK_STATE: "IGNORED"})
            running.end()
        else:  # an internal error before there was a request: an ExceptionInfo
            end_with_error(tracing, running, task, getattr(result.exception, "exc", result.exception))
        return
    state, reason = info.state, info.retval
    if state == "FAILURE" and isinstance(reason, BaseException):
        end_with_error(tracing, running, task, reason)
        return
    running.learn({names.CELERY_TASK_STATE: state, **_predicate(tracing, state, reason)})
    running.end(reason)


def end_with_error(tracing: Tracing[Any], running: Running, task: Any, error: BaseException) -> None:
    """End the span of an attempt that has failed, or that an exception has left, as it does in eager mode."""
    from celery.exceptions import Ignore, Reject, Retry

    learned: dict[str, Any] = {}
    for kind, state in ((Retry, "RETRY"), (Ignore, "IGNORED"), (Reject, "REJECTED")):
        if isinstance(error, kind):
            learned = {names.CELERY_TASK_STATE: state, **_predicate(tracing, state, error)}
    expected = bool(learned)
    if type(error).__name__ == "GreenletExit":  # how gevent and eventlet end a greenlet whose task is revoked
        learned.update(TERMINATED)
    elif not (expected or outcome.is_cancellation(error)):
        learned[names.CELERY_TASK_STATE] = "FAILURE"
        expected = isinstance(error, task.throws)
    if learned:
        running.learn(learned)
    if not expected:
        fail(tracing, running, error)
    running.end(error)  # for observers; the failure has been recorded above


def fail(tracing: Tracing[Any], running: Running, error: BaseException) -> None:
    """Say why an attempt failed. What else ends a task than an ``Exception`` is a failure, too."""
    if outcome.is_cancellation(error):
        running.learn({names.CAUSAL_CANCELLED: True})
        return
    tracing.record_exception(running.span, error)
    running.fail(error_name(error), type(error).__name__)


def _predicate(tracing: Tracing[Any], state: str, error: Any) -> dict[str, Any]:
    """What ``Retry`` and ``Reject`` say: why and when it is tried again, and whether the broker is to deliver it."""
    found: dict[str, Any] = {}
    if state == "RETRY":
        cause, text = getattr(error, "exc", None), getattr(error, "message", None)
        if isinstance(cause, BaseException):
            found[names.CELERY_TASK_RETRY_REASON] = error_name(cause)
        elif text:
            key = names.CELERY_TASK_RETRY_REASON
            found[key] = tracing.shortened(key, str(text), _REASON_LENGTH)
        when = getattr(error, "when", None)
        if isinstance(when, int | float):
            found[names.CELERY_TASK_RETRY_ETA] = datetime.fromtimestamp(time.time() + when, UTC).isoformat()
        elif isinstance(when, datetime):
            found[names.CELERY_TASK_RETRY_ETA] = when.isoformat()
    elif state == "REJECTED":
        found[names.CELERY_TASK_REJECT_REQUEUE] = bool(getattr(error, "requeue", False))
    return found
