"""Messages that a worker discards before there is an attempt: a CONSUMER span without length, in the message's trace.

They are revoked or expired, or the task is unknown, or nobody can read them. All of it happens in the worker's main
process, in every pool. What Celery publishes meanwhile (error callbacks, the body of a chord) is below the span.
"""

from __future__ import annotations

import functools
import os
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context

from causal_otel import names
from causal_otel._internal import faults
from causal_otel.engine.context import attach, with_span
from causal_otel.instrument.errors import error_name
from causal_otel.instrument.operation import Running
from causal_otel.patches.celery.attempt import ATTEMPT, Attempt
from causal_otel.patches.celery.canvas import CHORD_UNLOCK
from causal_otel.patches.celery.edges import joined
from causal_otel.patches.celery.identity import identity_of
from causal_otel.patches.celery.main_process import operation_of
from causal_otel.patches.celery.outcome import fail

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from causal_otel.instrument.tracing import Tracing

__all__ = ["wrap_announce_revoked", "wrap_refusal", "wrap_unknown_task"]

_NAME_LENGTH = 256
"""How many characters of the name of an unknown task are recorded."""


def wrap_announce_revoked(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """``Request._announce_revoked``: called once for a task that is revoked or has expired, before or while it runs."""

    def begin(job: Any, reason: str, terminated: bool, *_: Any, **__: Any) -> tuple[Running, Context] | None:
        if job.task.name == CHORD_UNLOCK or (terminated and job.worker_pid != os.getpid()):
            return None  # no span at all; or it has begun, and whoever executes it ends it
        learned = {names.CELERY_TASK_STATE: "REVOKED", names.CELERY_TASK_REVOKE_REASON: reason}
        return _begin(tracing, job.app, job.task.name, job.request_dict, learned, None, job)

    return _wrapped(tracing, original, begin)


def wrap_unknown_task(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """``Consumer.on_unknown_task``: no task of that name is registered in this worker."""

    def begin(consumer: Any, body: Any, message: Any, exc: Any) -> tuple[Running, Context] | None:
        from celery.exceptions import NotRegistered

        request = _request(consumer, message, body)
        name = request.get("task")
        learned = {names.CELERY_TASK_STATE: "FAILURE"}
        return _begin(tracing, consumer.app, name, request, learned, NotRegistered(str(name)[:_NAME_LENGTH]))

    return _wrapped(tracing, original, begin)


def wrap_refusal(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """``Consumer.on_invalid_task``, ``on_unknown_message``, ``on_decode_error``: nobody can read what was received."""
    decodes = original.__name__ == "on_decode_error"  # the one that has no argument for the body

    def begin(consumer: Any, *args: Any, **kwargs: Any) -> tuple[Running, Context] | None:
        from celery.exceptions import InvalidTaskError

        known = dict(zip(("message", "exc") if decodes else ("body", "message", "exc"), args, strict=False)) | kwargs
        request = _request(consumer, known["message"], known.get("body"))
        error = known.get("exc") or InvalidTaskError("not the message of a task")
        learned = {names.CELERY_TASK_STATE: "REJECTED"}
        return _begin(tracing, consumer.app, request.get("task"), request, learned, error)

    return _wrapped(tracing, original, begin)


def _wrapped(tracing: Tracing[Any], original: Callable[..., Any], begin: Callable[..., Any]) -> Callable[..., Any]:
    """``original``, during which is current what ``begin`` has begun with the same arguments; None: nothing."""

    @functools.wraps(original)
    def discard(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        begun = None
        if tracing.active:
            try:
                begun = begin(self, *args, **kwargs)
            except Exception:
                faults.report(f"celery: {original.__name__}")
        if begun is None:
            return original(self, *args, **kwargs)
        running, context = begun
        activation = attach(context)
        try:
            return original(self, *args, **kwargs)
        finally:
            activation.end()
            try:
                running.end(at=getattr(running.span, "start_time", None), duration=-1)
            except Exception:
                faults.report(f"celery: {original.__name__}")

    return discard


def _begin(
    tracing: Tracing[Any],
    app: Celery,
    task: Any,
    request: dict[str, Any],
    learned: dict[str, Any],
    error: BaseException | None,
    job: Any = None,
) -> tuple[Running, Context] | None:
    """The span of a message that is discarded, all but ended, and what is current meanwhile; None: none is wanted.

    Args:
        tracing: the patch's handle.
        app: the application.
        task: the task's name; None: it has none.
        request: what is known of the message.
        learned: attributes that say what becomes of it.
        error: why, if it is an error.
        job: Celery's request, if there is one.
    """
    from celery.exceptions import InvalidTaskError
    from kombu.exceptions import DecodeError

    name = "" if task is None else str(task)[:_NAME_LENGTH]
    if tracing.excluded is not None and tracing.excluded(name):
        return None
    parent, links = joined(tracing, name, request)
    now = time.time_ns()
    operation = operation_of(app, name, request, now)
    identity = identity_of(parent, request)
    span = tracing.adopt(operation.name, operation.kind, operation.attributes, parent, identity, now, links)
    if job is None:  # hooks are given a task
        running = Running(operation, span, metrics=tracing.metrics)
    else:
        running = tracing.running(operation, span, objects=(job.task, job._context))
    running.learn(learned)
    if isinstance(error, DecodeError | InvalidTaskError):
        running.fail(error_name(error), type(error).__name__)  # its text may quote the message
    elif error is not None:
        fail(tracing, running, error)
    context = Context({**parent, ATTEMPT: Attempt(name, request, running)})
    return running, with_span(span, context) if span.is_recording() else context


def _request(consumer: Any, message: Any, body: Any) -> dict[str, Any]:
    """What is known of a message of which Celery has made no request, as of one of which it has."""
    headers = message.headers if isinstance(message.headers, dict) else {}
    if "task" in headers:
        request = dict(headers)
    else:  # task protocol 1, whose headers are its body's
        if body is None:
            body = getattr(message, "_decoded_cache", None)
        request = {**(body if isinstance(body, dict) else {}), "headers": headers}
    request["delivery_info"] = message.delivery_info
    request["hostname"] = consumer.hostname
    return request
