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

from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanKind, TraceFlags

from causal_otel._internal import faults
from causal_otel._internal.binding import original_of, remember
from causal_otel.causality.thread_cpu import ThreadCpu
from causal_otel.engine import context as contexts
from causal_otel.engine.adoption import take_over
from causal_otel.engine.contained import users_span
from causal_otel.engine.context import SPAN_KEY
from causal_otel.instrument.operation import Operation
from causal_otel.names import CAUSAL_CPU
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
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link

    from causal_otel.instrument.operation import Running
    from causal_otel.instrument.tracing import Tracing

__all__ = ["operation_of", "trace_existing", "wrap_build_tracer"]

_OPERATIONS = 64
"""Of one task, by queue and worker, that are remembered."""
_SAMPLED = TraceFlags.SAMPLED
_FLAGS = 3  # where a SpanContext, which is a tuple, has its flags: a property is a call


def wrap_build_tracer(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """``celery.app.trace.build_tracer``, or the name of it that another module has imported."""
    original = original_of(original) or original

    @functools.wraps(original)
    def build_tracer(name: str, task: Any, *args: Any, **kwargs: Any) -> Any:
        return _traced(tracing, name, task, original(name, task, *args, **kwargs))

    remember(build_tracer, original)
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
                ours = task.__trace__ = _traced(tracing, name, task, original_of(found) or found)
                replaced.append((task, found, ours))

    def undo() -> None:
        for task, found, ours in replaced:
            if vars(task).get("__trace__") is ours:
                task.__trace__ = found

    return undo


class _Task:
    """What is known of a task once and for all.

    Attributes:
        tracing: the patch's handle.
        name: its name.
        task: the task.
        operations: those that are known, by exchange, routing key and worker: see :func:`operation_of`.
        watched: whether this process is one of a pool, of which the worker's main process learns if it is killed.
    """

    __slots__ = ("name", "operations", "task", "tracing", "watched")

    def __init__(self, tracing: Tracing[Any], name: str, task: Any) -> None:
        self.tracing = tracing
        self.name = name
        self.task = task
        self.operations: dict[tuple[Any, ...], Operation] = {}
        self.watched = ATTEMPTS.watched()  # pool processes make their tracers anew


def _traced(tracing: Tracing[Any], name: str, task: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    """A task's tracer: ``original``, with a span around it."""
    known = _Task(tracing, name, task)

    @functools.wraps(original)
    def trace_task(uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        context: Any = None
        if tracing.active:
            try:
                context = _begin(known, request or {"id": uuid})
            except Exception:
                faults.report("celery: the beginning of an attempt")
        if context is None:
            return original(uuid, args, kwargs, request)
        token = contexts.begin(context)
        try:
            done = original(uuid, args, kwargs, request)
        except BaseException as error:
            contexts.restore(token)
            _end(known, context[ATTEMPT], None, error)
            raise
        contexts.restore(token)
        _end(known, context[ATTEMPT], done, None)
        return done

    remember(trace_task, original)
    return trace_task


def _begin(known: _Task, request: dict[str, Any]) -> dict[str, Any] | None:
    """Begin an attempt; the context that is to be current for it. None: it has begun, in a tracer of ours around this.

    That is so where another library has wrapped ``build_tracer`` between the two places where we do.

    Args:
        known: the task.
        request: what Celery knows of the attempt: the message's headers and delivery.
    """
    tracing = known.tracing
    around = contexts.current()
    outer: Any = around.get(ATTEMPT)
    if outer is not None and outer.request is request:
        return None
    attempt = Attempt(known.name, request, None)
    if request.get("is_eager"):
        parent = around
        context = {**parent, ATTEMPT: attempt}
        if tracing.excluded is not None and tracing.excluded(known.name):
            context[SPAN_KEY] = tracing.start_excluded(parent)
        elif (recorded := contexts.is_recorded(parent, roots=True)) or tracing.measurable():
            _start(known, attempt, context, parent, recorded, None, {})
        return context
    delivery = request.get("delivery_info")
    received = delivery.pop(RECEIVED, None) if delivery else None
    parent, links = joined(tracing, known.name, request)
    context = {**parent, ATTEMPT: attempt}
    span: Any = parent.get(SPAN_KEY)
    recorded = span is None or span.get_span_context()[_FLAGS] & _SAMPLED != 0
    if known.name == CHORD_UNLOCK:
        pass  # it polls, and hands its context on
    elif tracing.excluded is not None and tracing.excluded(known.name):
        context[SPAN_KEY] = tracing.start_excluded(parent)
    elif recorded or not tracing.drops_unsampled() or tracing.measurable():
        eta = request.get("eta")
        app = known.task.app if eta else None
        waited = waits(app, eta, field(request, PUBLISHED), received, time.time())
        _start(known, attempt, context, parent, recorded, links, waited)
    if known.watched:
        _enter(attempt.running, str(request.get("id")))
    return context


def _start(
    known: _Task,
    attempt: Attempt,
    context: dict[str, Any],
    parent: Context,
    recorded: bool,
    links: Sequence[Link] | None,
    waited: dict[str, float],
) -> None:
    """Start the span of an attempt, unless nobody wants it, and put it into the attempt's context.

    Args:
        known: the task.
        attempt: which one.
        context: what is to be current for it.
        parent: the context in which its parent is, if it has one.
        recorded: whether it is recorded, as far as its parent decides.
        links: its links.
        waited: how long it has waited, by the attribute.
    """
    tracing, request = known.tracing, attempt.request
    operation = operation_of(known.operations, known.task, known.name, request)
    own = attempt_attributes(request)
    if waited:
        own.update(waited)
    eager = request.get("is_eager")
    objects = _objects(known.task, request) if tracing.observers else ()
    if recorded and not (eager or links):
        span = tracing.start_entry(operation.name, operation.kind, operation.attributes, parent)
        span.set_attributes(own)
        running = tracing.running(operation, span, objects=objects)
        if waited and tracing.metrics is not None:
            running.note(waited)
    else:
        running = tracing.begin(operation.of_this_call(own), objects=objects, parent=parent, links=links)
        span = running.span
    if tracing.ours and not eager:
        number = span_id(request)
        if number is not None:
            take_over(span, number, root=False)
    if recorded or span.is_recording():
        context[SPAN_KEY] = users_span(span)
        attempt.running = running
        if tracing.options.cpu_time:
            attempt.cpu = ThreadCpu()
    elif running.is_observed():
        attempt.running = running


def operation_of(
    known: dict[tuple[Any, ...], Operation], task: Any, name: str, request: Mapping[str, Any]
) -> Operation:
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


def _objects(task: Any, request: Mapping[str, Any]) -> tuple[Any, ...]:
    """What hooks are given."""
    from celery.app.task import Context as Request

    return task, Request({**request})


def _enter(running: Running | None, task_id: str) -> None:
    """Tell the worker's main process what this one executes."""
    if running is None:
        ATTEMPTS.skip(task_id)
        return
    span = running.span
    at = getattr(span, "start_time", None) or time.time_ns()
    ATTEMPTS.begin(task_id, span.get_span_context() if span.is_recording() else INVALID_SPAN_CONTEXT, at)


def _end(known: _Task, attempt: Attempt, done: Any, error: BaseException | None) -> None:
    """End an attempt.

    Args:
        known: the task.
        attempt: which one.
        done: what Celery's tracer has returned.
        error: what has left it instead.
    """
    running = attempt.running
    if running is None:
        return
    try:
        request = attempt.request
        if known.watched and not request.get("is_eager"):
            if isinstance(error, SystemExit) and is_terminated():
                return  # the main process knows why this one was told to end, and ends the span
            if not ATTEMPTS.end(str(request.get("id"))):
                return
        if attempt.cpu is not None:
            running.part(CAUSAL_CPU, attempt.cpu.computed() / 1e9)
        if error is None:
            end_with(known.tracing, running, known.task, done)
        else:
            end_with_error(known.tracing, running, known.task, error)
    except Exception:
        faults.report("celery: the end of an attempt")
