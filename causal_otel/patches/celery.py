"""Celery: a span for each task sent and one for each execution, in one trace across processes.

Traced:

* Sending, ``send reports.build`` (PRODUCER): ``delay``, ``apply_async``, ``send_task`` with names registered or not,
  canvases, retries and beat all meet in ``Celery.send_task``. The span covers choosing the queue, connecting to the
  broker and handing the message over; it ends ERROR where that fails. It is the root of a trace where nothing is
  current, in beat or a script. The trace context travels in the message's headers (W3C, unless propagators are set),
  and baggage with it: the broker is given the arguments of the application's tasks as well.
* Executing, ``process reports.build`` (CONSUMER), in every pool: current for the task's code, and a child of the span
  that sent the message, whatever is current in the worker. Each attempt of a task that is retried is an execution,
  below the attempt before it. In eager mode (``apply()``, ``task_always_eager``) there is no message, hence no PRODUCER
  span, and the execution is a child of its caller.

Deliberately not traced: the broker commands that sending consists of; polling, acknowledging and heartbeats; control
commands and events; ``AsyncResult.get()``; tasks called as plain functions. What the result backend does at the end of
a task is its client's business: with the redis patch, it shows as commands of the execution. None of this begins a
trace.

A task that is excluded, by its name, has no span where it is sent nor where it is executed, and nothing inside its
execution is recorded. Its message carries the sender's trace on, or a new one, as not sampled; what it publishes itself
as well, retries included.

An execution that a process of the pool does not live to end (a hard time limit, a process that is killed or runs out of
memory, ``revoke(terminate=True)``) is ended by the worker's main process: it is the same span, with the same id, an
ERROR, and nobody else ends it. What the killed process had not exported of it is lost. Where the broker delivers the
message again, that is another execution, marked ``celery.task.redelivered``.

Not traced: messages that never start an execution (revoked, expired).

Names carry the task, not the queue as the messaging conventions suggest: most queues are called "celery", and
the task is what people look for. Attributes on both spans are the convention's: ``messaging.system`` (``redis``,
``rabbitmq``, …; ``celery`` where there is none), ``server.address`` and ``server.port`` of the broker,
``messaging.operation.name`` and ``.type`` (``send``, ``process``), ``messaging.destination.name`` (the queue, or
``exchange:routing_key``), ``messaging.message.id`` (the task's id), ``messaging.message.conversation_id`` (the id of
the first task of its canvas); and ``celery.task.name``. An execution adds:

* ``causal.queue.wait``: seconds from when the task could run (sent, or its eta) until it did, by two machines' clocks
* ``celery.task.state``: SUCCESS, FAILURE, RETRY, IGNORED, REJECTED or REVOKED
* ``celery.task.retries``: how many attempts there were before this one, if any
* ``celery.task.redelivered``: true where the message had been delivered before, to an execution that did not end it
* ``celery.task.eta``: when it was due, if not at once
* ``celery.task.retry.reason``: the exception it is retried for, if that is known

A failed execution is an ERROR whose ``error.type`` is the exception's class, with an ``exception`` event: its type, its
message as redaction leaves it, and its stack without source lines. ``SystemExit`` and ``KeyboardInterrupt`` in a task
are failures like any other; where the main process ends the execution, it is ``billiard.exceptions.TimeLimitExceeded``,
``WorkerLostError`` or ``Terminated``. Exceptions that a task expects (``throws``) are neither an error nor an event, as
Celery logs them without a traceback, and nor are retrying, ignoring and rejecting. Arguments and results are never
recorded.

Metrics: ``messaging.client.operation.duration`` of each sending and ``messaging.process.duration`` of each execution,
in eager mode as well, by queue and ``celery.task.name``; ``causal.queue.wait`` of those whose sender is traced. One
that the main process ends is measured there.

Call ``install()`` where the worker's app is defined. Pool processes inherit it, and their spans are exported before
they leave: at a warm shutdown as well as after ``max_tasks_per_child``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, create_key
from opentelemetry.trace import SpanKind

from causal_otel import names
from causal_otel._internal import faults
from causal_otel.engine import carriers
from causal_otel.engine.context import current, is_suppressed, suppressed_context, with_span
from causal_otel.instrument.calls import Args, Inside, Kwargs, traced_call
from causal_otel.instrument.declaration import Connect, Patch, Wrap
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.options import Options
from causal_otel.instrument.tracing import Tracing
from causal_otel.metrics.conventions import MESSAGING_CLIENT, MESSAGING_PROCESS
from causal_otel.patches._celery_attributes import PUBLISHED, common, message
from causal_otel.patches._celery_execution import begin_execution, end_execution, wrap_on_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celery import Celery

    from causal_otel.instrument.awaiting import Call

__all__ = ["PATCH", "CeleryOptions"]

_SENDING = create_key("causal-otel-celery-sending")
"""The key in a context of the sending that is under way."""
_EXCLUDED = Operation("excluded", {})


@dataclass(frozen=True, kw_only=True)
class CeleryOptions(Options):
    """The options of the patch for Celery.

    Where a task is sent, the hooks are called with the span, the application, and the positional and keyword arguments
    of its ``send_task()``, which begin with the task's name; ``response_hook`` with the ``AsyncResult`` as well, or the
    exception. Where one is executed, they are called with the span, the task and its request
    (``celery.app.task.Context``), which tells of the message; ``response_hook`` with what the task has returned or
    raised as well, ``Retry``, ``Ignore`` and ``Reject`` included. Where the main process ends an execution, it calls
    both, one after the other, with the error that says why.

    Args:
        excluded: names of tasks, such as ``reports.*``, in any case: neither sent nor executed in a trace that is
            recorded.
        flush_timeout: how long a worker process that leaves may take to export its last spans, in seconds.
    """

    flush_timeout: float = 2.0


# -- sending ----------------------------------------------------------------------------------------------------------


def _begin_sending(tracing: Tracing[CeleryOptions], app: Celery, args: Args, kwargs: Kwargs) -> Call:
    """Begin the span of sending. :func:`_before_publish` adds what only Celery knows, and writes the headers."""
    name = str(args[0] if args else kwargs.get("name"))
    if tracing.excluded is not None and tracing.excluded(name):
        excluded = tracing.start_excluded()
        return Inside(Context({**suppressed_context(), **with_span(excluded), _SENDING: Running(_EXCLUDED, excluded)}))
    operation = Operation(f"send {name}", common(app, name, "send"), kind=SpanKind.PRODUCER)
    running = tracing.begin(operation, objects=(app, args, kwargs))
    running.inside = Context({**suppressed_context(), **with_span(running.span), _SENDING: running})
    return running


def _before_publish(
    headers: dict[str, Any], properties: Mapping[str, Any], exchange: str, routing_key: str, **_: Any
) -> None:
    """Complete the message, and its span if there is one: ``before_task_publish``, called inside ``send_task``.

    Here and not in the arguments of ``send_task``, because here the headers are the message's own: those of the
    caller, of the route and of the attempt before are in them by now, and nobody else holds them.
    """
    context = current()
    running: Running | None = context.get(_SENDING)  # type: ignore[assignment]
    if running is None and is_suppressed(context):
        return
    fields = carriers.injected(context)
    if "traceparent" in fields:
        headers.pop("tracestate", None)  # it belonged to the traceparent that is replaced
    headers.update(fields)
    headers[PUBLISHED] = time.time()
    if running is not None and running.is_observed():
        task_id = headers.get("id") or properties["correlation_id"]
        running.learn(message(task_id, headers.get("root_id"), exchange, routing_key))


# -- placing ----------------------------------------------------------------------------------------------------------


def _connect(tracing: Tracing[CeleryOptions]) -> Callable[[], None]:
    """Connect to Celery's signals. Those of an execution are a bracket: the second is sent in a ``finally``."""
    from celery import signals

    def before_publish(**sent: Any) -> None:
        try:
            _before_publish(**sent)
        except Exception:
            faults.report("celery: before_task_publish")

    def prerun(task: Any, **_: Any) -> None:
        try:
            begin_execution(tracing, task)
        except Exception:
            faults.report("celery: task_prerun")

    def postrun(task: Any, state: str | None, retval: Any, **_: Any) -> None:
        try:
            end_execution(tracing, task, state, retval)
        except Exception:
            faults.report("celery: task_postrun")

    def export_all(**_: Any) -> None:
        try:
            tracing.flush(tracing.options.flush_timeout)
        except Exception:
            faults.report("celery: flush")

    receivers = {
        "before_task_publish": before_publish,
        "task_prerun": prerun,
        "task_postrun": postrun,
        "worker_process_shutdown": export_all,  # os._exit follows: no atexit
        "worker_shutdown": export_all,
    }
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver, weak=False, dispatch_uid=f"causal_otel.{name}")

    def disconnect() -> None:
        for name in receivers:
            getattr(signals, name).disconnect(dispatch_uid=f"causal_otel.{name}")

    return disconnect


PATCH = Patch(
    name="celery",
    versions={"celery": ("5.3", "6")},
    options=CeleryOptions,
    targets=(
        Wrap("celery.app.base", "Celery.send_task", traced_call(_begin_sending)),
        Wrap("celery.worker.request", "Request.on_failure", wrap_on_failure),
        Connect("celery.signals", _connect),
    ),
    records=(
        names.MESSAGING_SYSTEM,
        names.MESSAGING_OPERATION_NAME,
        names.MESSAGING_OPERATION_TYPE,
        names.MESSAGING_DESTINATION_NAME,
        names.MESSAGING_MESSAGE_ID,
        names.MESSAGING_MESSAGE_CONVERSATION_ID,
        names.CELERY_TASK_NAME,
        names.CELERY_TASK_STATE,
        names.CELERY_TASK_ETA,
        names.CELERY_TASK_RETRIES,
        names.CELERY_TASK_RETRY_REASON,
        names.CELERY_TASK_REDELIVERED,
        names.CAUSAL_QUEUE_WAIT,
        names.SERVER_ADDRESS,
        names.SERVER_PORT,
        names.ERROR_TYPE,
        names.CAUSAL_CANCELLED,
    ),
    never=(
        "arguments of tasks",
        "results",
        "headers of messages",
        "the broker's URL, user and password",
    ),
    metrics={SpanKind.PRODUCER: MESSAGING_CLIENT, SpanKind.CONSUMER: MESSAGING_PROCESS},
)
