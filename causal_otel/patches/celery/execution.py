"""Celery's worker: one CONSUMER span for each attempt at a task, in the process that executes it.

All ways to execute a task go through what ``build_tracer()`` returns for it. The span is around that, so that whatever
Celery calls on behalf of the task is inside: receivers of ``task_prerun`` and ``task_postrun``, ``before_start``,
``on_success``, ``on_failure``, ``after_return``, the callbacks and the next task of a chain that it publishes.
"""

from __future__ import annotations

import functools
import sys
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanKind

from causal_otel._internal import faults
from causal_otel.engine import context as contexts
from causal_otel.engine.adoption import take_over
from causal_otel.engine.contained import users_span
from causal_otel.engine.context import SPAN_KEY
from causal_otel.instrument.operation import Operation
from causal_otel.patches.celery.attempt import ATTEMPT, Attempt
from causal_otel.patches.celery.attributes import attempt_attributes, execution_attributes
from causal_otel.patches.celery.canvas import CHORD_UNLOCK
from causal_otel.patches.celery.edges import joined
from causal_otel.patches.celery.headers import PUBLISHED, field
from causal_otel.patches.celery.identity import span_id
from causal_otel.patches.celery.outcome import end_with, end_with_error
from causal_otel.patches.celery.pool_table import ATTEMPTS, is_terminated
from causal_otel.patches.celery.waits import RECEIVED, waits

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context

    from causal_otel.instrument.operation import Running
    from causal_otel.instrument.tracing import Tracing

__all__ = ["operation_of", "trace_existing", "wrap_build_tracer"]

_OPERATIONS = 64
"""Of one task, by queue and worker, that are remembered."""
_ORIGINAL = "_causal_otel_original"
"""The attribute of our replacements that holds what they replace."""


def wrap_build_tracer(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """``celery.app.trace.build_tracer``, or the name of it that another module has imported."""
    original = getattr(original, _ORIGINAL, original)

    @functools.wraps(original)
    def build_tracer(name: str, task: Any, *args: Any, **kwargs: Any) -> Any:
        return _traced(tracing, name, task, original(name, task, *args, **kwargs))

    setattr(build_tracer, _ORIGINAL, original)
    return build_tracer


def trace_existing(tracing: Tracing[Any]) -> Callable[[], None]:
    """Trace the tasks that have got their tracer already, as where ``install()`` is called by ``worker_process_init``.

    Returns:
        What gives them back those that they had.
    """
    replaced = []
    state = sys.modules.get("celery._state")
    for app in list(state._get_active_apps()) if state is not None else ():
        for name, task in list(vars(app).get("_tasks", {}).items()):
            found = vars(task).get("__trace__")
            if found is not None:
                ours = task.__trace__ = _traced(tracing, name, task, getattr(found, _ORIGINAL, found))
                replaced.append((task, found, ours))

    def undo() -> None:
        for task, found, ours in replaced:
            if vars(task).get("__trace__") is ours:
                task.__trace__ = found

    return undo


def _traced(tracing: Tracing[Any], name: str, task: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    """A task's tracer: ``original``, with a span around it."""
    operations: dict[tuple[Any, ...], Operation] = {}

    @functools.wraps(original)
    def trace_task(uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        received = None if request is None else request.pop(RECEIVED, None)
        context: Any = None
        if tracing.active:
            try:
                context = _begin(tracing, name, task, operations, request or {"id": uuid}, received)
            except Exception:
                faults.report("celery: the beginning of an attempt")
        if context is None:
            return original(uuid, args, kwargs, request)
        token = contexts.begin(context)
        try:
            done = original(uuid, args, kwargs, request)
        except BaseException as error:
            contexts.restore(token)
            _end(tracing, task, context[ATTEMPT], None, error)
            raise
        contexts.restore(token)
        _end(tracing, task, context[ATTEMPT], done, None)
        return done

    setattr(trace_task, _ORIGINAL, original)
    return trace_task


def _begin(
    tracing: Tracing[Any],
    name: str,
    task: Any,
    operations: dict[tuple[Any, ...], Operation],
    request: dict[str, Any],
    received: Any,
) -> Context:
    """Begin an attempt; the context that is to be current for it.

    Args:
        tracing: the patch's handle.
        name: the task's.
        task: the task.
        operations: those of this task that are known, by queue and worker.
        request: what Celery knows of it: the message's headers and delivery.
        received: when the worker's main process got the message, if that is known.
    """
    eager = request.get("is_eager", False)
    parent, links = (contexts.current(), None) if eager else joined(tracing, name, request)
    attempt = Attempt(name, request, None)
    context: dict[str, Any] = {**parent, ATTEMPT: attempt}
    recorded = contexts.is_recorded(parent, roots=True)
    if name == CHORD_UNLOCK:
        pass  # it polls, and hands its context on
    elif tracing.excluded is not None and tracing.excluded(name):
        context[SPAN_KEY] = tracing.start_excluded(parent)
    elif recorded or not (eager or tracing.drops_unsampled()) or tracing.measurable():
        operation = operation_of(operations, task, name, request)
        own = attempt_attributes(request)
        waited = {} if eager else waits(task.app, request.get("eta"), field(request, PUBLISHED), received, time.time())
        if waited:
            own.update(waited)
        if eager or links or not recorded:
            operation = operation.of_this_call(own)
            running = tracing.begin(operation, objects=_objects(tracing, task, request), parent=parent, links=links)
        else:
            span = tracing.start_entry(operation.name, operation.kind, operation.attributes, parent)
            span.set_attributes(own)
            running = tracing.running(operation, span, objects=_objects(tracing, task, request))
            if waited and tracing.metrics is not None:
                running.note(waited)
        if not eager and tracing.ours and (known := span_id(request)) is not None:
            take_over(running.span, known, root=False)
        if recorded or running.span.is_recording():
            context[SPAN_KEY] = users_span(running.span)
            attempt.running = running
        elif running.is_observed():
            attempt.running = running
    if not eager and ATTEMPTS.watched():
        _enter(attempt.running, str(request.get("id")))
    return context  # type: ignore[return-value]  # a plain dict serves as a context


def operation_of(known: dict[tuple[Any, ...], Operation], task: Any, name: str, request: dict[str, Any]) -> Operation:
    """What the attempts at a task from one queue in one worker have in common.

    Args:
        known: those that have been made.
        task: the task.
        name: its name.
        request: what Celery knows of the attempt.
    """
    delivery = request.get("delivery_info") or {}
    exchange, routing_key = delivery.get("exchange"), delivery.get("routing_key")
    worker = None if request.get("is_eager") else request.get("hostname") or ""
    key = exchange, routing_key, worker
    found = known.get(key)
    if found is None:
        attributes = execution_attributes(task.app, name, *key)
        found = Operation(f"process {name}", attributes, kind=SpanKind.CONSUMER)
        if len(known) < _OPERATIONS:
            known[key] = found
    return found


def _objects(tracing: Tracing[Any], task: Any, request: dict[str, Any]) -> tuple[Any, ...]:
    """What hooks are given."""
    if not tracing.observers:
        return ()
    from celery.app.task import Context as Request

    return task, Request(request)


def _enter(running: Running | None, task_id: str) -> None:
    """Tell the worker's main process what this one executes."""
    if running is None:
        ATTEMPTS.skip(task_id)
        return
    span = running.span
    at = getattr(span, "start_time", None) or time.time_ns()
    ATTEMPTS.begin(task_id, span.get_span_context() if span.is_recording() else INVALID_SPAN_CONTEXT, at)


def _end(tracing: Tracing[Any], task: Any, attempt: Attempt, done: Any, error: BaseException | None) -> None:
    """End an attempt.

    Args:
        tracing: the patch's handle.
        task: the task.
        attempt: which one.
        done: what Celery's tracer has returned.
        error: what has left it instead.
    """
    running = attempt.running
    if running is None:
        return
    try:
        request = attempt.request
        if not request.get("is_eager") and ATTEMPTS.watched():
            if isinstance(error, SystemExit) and is_terminated():
                return  # the main process knows why this one was told to end, and ends the span
            if not ATTEMPTS.end(str(request.get("id"))):
                return
        if error is None:
            end_with(tracing, running, task, done)
        else:
            end_with_error(tracing, running, task, error)
    except Exception:
        faults.report("celery: the end of an attempt")
