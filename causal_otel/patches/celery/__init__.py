"""Celery: a span for each task sent and one for each execution, in one trace across processes.

Traced:

* Sending, ``send reports.build`` (PRODUCER): ``delay``, ``apply_async``, ``send_task`` with names registered or not,
  canvases, retries and beat all meet in ``Celery.send_task``. The span covers choosing the queue, connecting to the
  broker and handing the message over; it ends ERROR where that fails. It is the root of a trace where nothing is
  current, in beat or a script. The trace context travels in the message's headers (W3C, unless propagators are set),
  and baggage with it: the broker is given the arguments of the application's tasks as well.
* Executing, ``process reports.build`` (CONSUMER), in every pool: current for the task's code, and a child of the span
  that sent the message, whatever is current in the worker. Each attempt at a task that is retried is an execution; all
  of them have the same parent, and each is linked to the one before. In eager mode (``apply()``,
  ``task_always_eager``) there is no message, hence no PRODUCER span, and the execution is a child of its caller.
* Canvases: one trace, whatever they are made of. A group or chord that is sent outside any span has a span around it,
  ``send group`` or ``send chord`` (INTERNAL). What is no parent is a link, with its role in the link's attribute
  ``causal.link``: ``chain`` to the task before, ``group`` to where the group was sent, ``chord-header`` from a chord's
  body to each member of its header, ``callback``, ``errback``, ``retry``, ``redelivery``. A task that sends
  itself begins a trace that is linked to the one before (``reschedule``); the option ``link`` says which others do
  (``sender``).

Deliberately not traced: ``celery.chord_unlock``, which polls the header of a chord, and what Celery does on its own
account, whichever patches are on. That is whatever goes through the connections of the broker (sending, polling,
acknowledging, heartbeats, events, control commands and their replies) and of the result backend: storing a result,
asking for one (``AsyncResult.get()``, ``ready()``, ``forget()``, those of groups), counting the parts of a chord. With
``result_backend=True`` the latter shows as commands of the span that is current, such as the execution; none of it ever
begins a trace. What your code does meanwhile, in a callback of ``get()`` or a receiver of a signal, is traced. Nor are
tasks called as plain functions.

A task that is excluded, by its name, has no span where it is sent nor where it is executed, and nothing inside its
execution is recorded. Its message carries the sender's trace on, or a new one, as not sampled; what it publishes itself
as well, retries included.

An execution that a process of the pool does not live to end (a hard time limit, a process that is killed or runs out
of memory, ``revoke(terminate=True)``, a cold shutdown) is ended by the worker's main process: it is the same span,
with the same id, an ERROR until its process was found dead, and nobody else ends it. Its state is what Celery makes
of it: FAILURE, REVOKED, RETRY, REJECTED (the message goes back to the broker), or SUCCESS if its result had been
stored before. Where the process was lost before the worker had heard that it had begun, Celery gives the message to
another process of the pool: that is REJECTED as well. What the killed process had not exported is lost. Where the
message is executed again, that is another execution, linked to the one before, and marked ``celery.task.redelivered``
if the broker has delivered it again.

A message that a worker discards before there is an execution is a span without length, in every pool: one that is
revoked or has expired (no error, ``celery.task.revoke.reason``), an ERROR if the task is unknown or nobody can read it.

Names carry the task, not the queue as the messaging conventions suggest: most queues are called "celery", and
the task is what people look for. Attributes on both spans are the convention's: ``messaging.system`` (``redis``,
``rabbitmq``, …; ``celery`` where there is none), ``server.address`` and ``server.port`` of the broker,
``messaging.operation.name`` and ``.type`` (``send``, ``process``), ``messaging.destination.name`` (the queue, or
``exchange:routing_key``), ``messaging.message.id`` (the task's id), ``messaging.message.conversation_id`` (the id of
the first task of its canvas); and ``celery.task.name``. Sending adds where its time went: ``causal.pool.wait`` for a
producer of the broker's pool, with ``causal.pool.size`` and ``causal.pool.waiting``, and ``causal.connect``. An
execution adds:

* ``causal.queue.wait``: seconds from when the task could run (sent, or its eta) until it did, by two machines' clocks
* ``causal.prefetch.wait``: the part of it after a worker had received the task, and was busy, by one machine's clock
* ``celery.worker.name``: the worker's node name, such as ``celery@host``; not in eager mode
* ``celery.task.state``: SUCCESS, FAILURE, RETRY, IGNORED, REJECTED or REVOKED
* ``celery.task.retries``: how many attempts there were before this one, if any
* ``celery.task.redelivered``: true where the message had been delivered before, to an execution that did not end it
* ``celery.task.eta``: when it was due, if not at once
* ``celery.task.retry.reason``: the exception it is retried for, or else the text that ``Retry`` was given
* ``celery.task.retry.eta``: when it is to be retried
* ``celery.task.revoke.reason``: ``revoked`` or ``expired`` before it began, ``terminated`` while it ran
* ``celery.task.reject.requeue``: whether the broker is to deliver a message again that was rejected

A failed execution is an ERROR whose ``error.type`` is the exception's class, with an ``exception`` event: its type, its
message as redaction leaves it, and its stack without source lines. ``SystemExit`` and ``KeyboardInterrupt`` in a task
are failures like any other; where the main process ends the execution, it is ``billiard.exceptions.TimeLimitExceeded``,
``WorkerLostError`` or ``Terminated``. Exceptions that a task expects (``throws``) are neither an error nor an event, as
Celery logs them without a traceback, and nor are retrying, ignoring and rejecting. Arguments and results are never
recorded.

Metrics: ``messaging.client.operation.duration`` of each sending and ``messaging.process.duration`` of each execution,
in eager mode as well, by queue and ``celery.task.name``; ``causal.celery.attempts`` by ``celery.task.state``;
``causal.celery.queue.wait`` of those whose sender is traced and ``causal.celery.prefetch.wait`` of all. One that the
main process ends is measured there.

The span of an execution is around all that Celery does on behalf of the task: receivers of ``task_prerun`` and
``task_postrun``, the methods ``before_start``, ``on_success``, ``on_failure`` and ``after_return``, what it publishes
then (callbacks, the next task of a chain), and the log line of the outcome.

Call ``install()`` where the worker's app is defined. Pool processes inherit it, and their spans are exported before
they leave: at a warm shutdown as well as after ``max_tasks_per_child``. A line in the log (INFO) of the worker, and of
beat, says which patches are at work there and where its spans go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from causal_otel import names
from causal_otel._internal import faults
from causal_otel.instrument.declaration import Connect, Patch, Wrap
from causal_otel.instrument.tracing import Tracing
from causal_otel.metrics.conventions import CELERY_PROCESS, MESSAGING_CLIENT
from causal_otel.patches.celery import noise, worker_log
from causal_otel.patches.celery.canvas import wrap_chord, wrap_group
from causal_otel.patches.celery.discarded import wrap_announce_revoked, wrap_refusal, wrap_unknown_task
from causal_otel.patches.celery.execution import trace_existing, wrap_build_tracer
from causal_otel.patches.celery.main_process import wrap_on_failure, wrap_on_timeout
from causal_otel.patches.celery.options import CeleryOptions, LinkWhen
from causal_otel.patches.celery.publishing import connect_senders, wrap_create_task_sender, wrap_send_task
from causal_otel.patches.celery.put_back import wrap_on_partial_read
from causal_otel.patches.celery.receivers import connected
from causal_otel.patches.celery.sending import by_beat, wrap_acquire, wrap_connect
from causal_otel.patches.celery.waits import wrap_request

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PATCH", "CeleryOptions", "LinkWhen"]


def _connect(tracing: Tracing[CeleryOptions]) -> Callable[[], None]:
    """Export what is left when a worker ends, and when a process of its pool does."""

    def export_all(**_: Any) -> None:
        try:
            tracing.flush(tracing.options.flush_timeout)
        except Exception:
            faults.report("celery: flush")

    # After the former comes os._exit(), and so no atexit.
    return connected({"worker_process_shutdown": export_all, "worker_shutdown": export_all}, "flush")


def _pass_on_time_limits(tracing: Tracing[CeleryOptions]) -> Callable[[], None]:
    """A soft time limit is raised in whatever a process of a pool executes, which may be ours."""
    from billiard.exceptions import SoftTimeLimitExceeded

    return faults.pass_on(SoftTimeLimitExceeded)


PATCH = Patch(
    name="celery",
    versions={"celery": ("5.3", "6")},
    options=CeleryOptions,
    targets=(
        Wrap("celery.app.base", "Celery.send_task", wrap_send_task),
        Wrap("celery.app.amqp", "AMQP._create_task_sender", wrap_create_task_sender),
        Connect("celery.app.amqp", connect_senders),
        Wrap("celery.canvas", "group.apply_async", wrap_group),
        Wrap("celery.canvas", "_chord.run", wrap_chord),
        Wrap("celery.beat", "Scheduler.apply_async", by_beat),
        Wrap("kombu.resource", "Resource.acquire", wrap_acquire),
        Wrap("kombu.connection", "Connection._establish_connection", wrap_connect),
        Wrap("kombu.connection", "Connection.channel", wrap_connect),
        Wrap("celery.worker.request", "Request.on_failure", wrap_on_failure),
        Wrap("celery.worker.request", "Request.on_timeout", wrap_on_timeout),
        Wrap("celery.concurrency.asynpool", "AsynPool.on_partial_read", wrap_on_partial_read),
        Wrap("celery.worker.request", "Request._announce_revoked", wrap_announce_revoked),
        Wrap("celery.worker.consumer.consumer", "Consumer.on_unknown_task", wrap_unknown_task),
        Wrap("celery.worker.consumer.consumer", "Consumer.on_invalid_task", wrap_refusal),
        Wrap("celery.worker.consumer.consumer", "Consumer.on_unknown_message", wrap_refusal),
        Wrap("celery.worker.consumer.consumer", "Consumer.on_decode_error", wrap_refusal),
        Wrap("celery.worker.request", "Request.__init__", wrap_request),
        Wrap("celery.app.trace", "build_tracer", wrap_build_tracer),
        Wrap("celery.worker.consumer.consumer", "build_tracer", wrap_build_tracer),
        Connect("celery.app.trace", trace_existing),
        Connect("celery.signals", _connect),
        Connect("billiard.exceptions", _pass_on_time_limits),
        *noise.TARGETS,
        worker_log.TARGET,
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
        names.CELERY_TASK_RETRY_ETA,
        names.CELERY_TASK_REJECT_REQUEUE,
        names.CELERY_TASK_REDELIVERED,
        names.CELERY_TASK_REVOKE_REASON,
        names.CELERY_WORKER_NAME,
        names.CAUSAL_QUEUE_WAIT,
        names.CAUSAL_POOL_WAIT,
        names.CAUSAL_POOL_SIZE,
        names.CAUSAL_POOL_WAITING,
        names.CAUSAL_CPU,
        names.CAUSAL_CONNECT,
        # What the redis client notes that carries the message.
        *(names.CAUSAL_CONNECT_DNS, names.CAUSAL_CONNECT_TLS, names.CAUSAL_DISCOVERY),
        *(names.CAUSAL_ATTEMPTS, names.CAUSAL_RETRY_WAIT),
        names.CAUSAL_PREFETCH_WAIT,
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
    metrics={SpanKind.PRODUCER: MESSAGING_CLIENT, SpanKind.CONSUMER: CELERY_PROCESS},
)
