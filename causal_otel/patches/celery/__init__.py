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

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from causal_otel import names
from causal_otel._internal import faults
from causal_otel.instrument.calls import traced_call
from causal_otel.instrument.declaration import Connect, Patch, Wrap
from causal_otel.instrument.tracing import Tracing
from causal_otel.metrics.conventions import MESSAGING_CLIENT, MESSAGING_PROCESS
from causal_otel.patches.celery.execution import begin_execution, end_execution, wrap_on_failure
from causal_otel.patches.celery.options import CeleryOptions
from causal_otel.patches.celery.publishing import begin_sending, complete_message

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PATCH", "CeleryOptions"]


def _connect(tracing: Tracing[CeleryOptions]) -> Callable[[], None]:
    """Connect to Celery's signals. Those of an execution are a bracket: the second is sent in a ``finally``."""
    from celery import signals

    def before_publish(**sent: Any) -> None:
        try:
            complete_message(**sent)
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
        Wrap("celery.app.base", "Celery.send_task", traced_call(begin_sending)),
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
