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
a task is its client's business: with the redis patch, it shows as commands of the execution.

A task that is excluded, by its name, has no span where it is sent nor where it is executed, and everything inside its
execution is silent. Its message carries the sender's trace on, or a new one, as not sampled; what it publishes itself
as well, retries included.

Not yet: executions that never end by themselves (hard time limit, a killed child process) and messages that never
start one (revoked, expired).

Names carry the task, not the queue as the messaging conventions suggest: most queues are called "celery", and
the task is what people look for. Attributes on both spans are the convention's: ``messaging.system`` (``redis``,
``rabbitmq``, …; ``celery`` where there is none), ``server.address`` and ``server.port`` of the broker,
``messaging.operation.name`` and ``.type`` (``send``, ``process``), ``messaging.destination.name`` (the queue, or
``exchange:routing_key``), ``messaging.message.id`` (the task's id), ``messaging.message.conversation_id`` (the id of
the first task of its canvas); and ``celery.task.name``. An execution adds:

* ``causal.queue.wait``: seconds from when the task could run (sent, or its eta) until it did, by two machines' clocks
* ``celery.task.state``: SUCCESS, FAILURE, RETRY, IGNORED or REJECTED
* ``celery.task.retries``: how many attempts there were before this one, if any
* ``celery.task.eta``: when it was due, if not at once
* ``celery.task.retry.reason``: the exception it is retried for, if that is known

A failed execution is an ERROR whose ``error.type`` is the exception's class; not so for the exceptions that a task
expects (``throws``) and for retrying, ignoring and rejecting. Arguments, results and messages of exceptions are never
recorded.

Call ``install()`` where the worker's app is defined. Pool processes inherit it, and their spans are exported before
they leave: at a warm shutdown as well as after ``max_tasks_per_child``.
"""

from __future__ import annotations

import functools
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry.context import Context, create_key
from opentelemetry.trace import SpanKind

from causal_otel import semconv
from causal_otel.engine import carriers, faults, outcome
from causal_otel.engine.context import attach, current, is_recorded, suppressed, suppression, with_span
from causal_otel.patches._layer import Connect, Patch, Wrap
from causal_otel.patches._tracing import Options, Tracing, end_failed, error_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celery import Celery
    from celery.app.task import Context as Request
    from opentelemetry.trace import Span

    from causal_otel.engine.context import Activation

__all__ = ["PATCH", "CeleryOptions"]

_PUBLISHED = "causal-published"
"""The header that says when a message was sent, in Unix seconds."""

_SENDING = create_key("causal-otel-celery-sending")
"""Holds the PRODUCER span while its message is on the way."""

_EXECUTION = "_causal_otel_execution"
"""The attribute of a task's request that holds its :class:`_Execution`."""

_SYSTEMS = {
    **dict.fromkeys(("amqp", "amqps", "pyamqp", "librabbitmq"), "rabbitmq"),
    **dict.fromkeys(("redis", "rediss", "sentinel"), "redis"),
    **dict.fromkeys(("kafka", "confluentkafka"), "kafka"),
    "azureservicebus": "servicebus",
    "gcpubsub": "gcp_pubsub",
    "sqs": "aws_sqs",
}


@dataclass(frozen=True, kw_only=True)
class CeleryOptions(Options):
    """The options of the patch for Celery.

    Args:
        excluded: names of tasks, such as ``reports.*``, in any case: neither sent nor executed in a trace that is
            recorded.
        flush_timeout: how long a worker process that leaves may take to export its last spans, in seconds.
    """

    flush_timeout: float = 2.0


# -- attributes -------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=32)
def _broker(url: str) -> Mapping[str, Any]:
    """The attributes of a broker. Only a single server's address is told: which one of several it is, is unknown."""
    parts = urlsplit(url)
    system = _SYSTEMS.get(parts.scheme.partition("+")[0], "celery")
    attributes: dict[str, Any] = {semconv.MESSAGING_SYSTEM: system}
    # In URLs of other brokers, what looks like a host may be a key.
    if system in ("redis", "rabbitmq") and parts.scheme != "sentinel" and ";" not in url and parts.hostname:
        attributes[semconv.SERVER_ADDRESS] = parts.hostname
        if parts.port is not None:
            attributes[semconv.SERVER_PORT] = parts.port
    return MappingProxyType(attributes)


def _common(app: Celery, task_name: str, operation: str, *, broker: bool = True) -> dict[str, Any]:
    """The attributes that sending and executing share and that are known at once."""
    url = (app.conf.broker_write_url or "amqp://") if broker else ""
    return {
        **_broker(url if isinstance(url, str) else ";".join(url)),
        semconv.MESSAGING_OPERATION_NAME: operation,
        semconv.MESSAGING_OPERATION_TYPE: operation,
        semconv.CELERY_TASK_NAME: task_name,
    }


def _message(task_id: str | None, root_id: str | None, exchange: str | None, routing_key: str | None) -> dict[str, Any]:
    """The attributes of a message: what it is, what it belongs to, where it goes."""
    attributes = {
        semconv.MESSAGING_MESSAGE_ID: task_id,
        semconv.MESSAGING_MESSAGE_CONVERSATION_ID: root_id or task_id,
    }
    destination = ":".join(filter(None, (exchange, routing_key)))
    if destination:
        attributes[semconv.MESSAGING_DESTINATION_NAME] = destination
    return attributes


def _execution_attributes(app: Celery, task_name: str, request: Request, headers: Mapping[str, Any]) -> dict[str, Any]:
    delivery = request.delivery_info or {}
    attributes = _common(app, task_name, "process", broker=not request.is_eager)
    attributes |= _message(request.id, request.root_id, delivery.get("exchange"), delivery.get("routing_key"))
    if request.retries:
        attributes[semconv.CELERY_TASK_RETRIES] = request.retries
    if request.eta:
        attributes[semconv.CELERY_TASK_ETA] = str(request.eta)
    waited = _queue_wait(app, request, headers.get(_PUBLISHED))
    if waited is not None:
        attributes[semconv.QUEUE_WAIT] = waited
    return attributes


def _queue_wait(app: Celery, request: Request, published: Any) -> float | None:
    """How long the task that starts now could have run already, in seconds; None: nobody knows."""
    if not isinstance(published, int | float):
        return None  # the sender is not ours
    ready = float(published)
    if request.eta:
        try:
            eta = datetime.fromisoformat(str(request.eta))
        except ValueError:
            return None
        ready = max(ready, (eta if eta.tzinfo else eta.replace(tzinfo=app.timezone)).timestamp())
    return max(0.0, time.time() - ready)


def _headers(request: Request) -> dict[str, Any]:
    """The message's headers. Task protocol 2 makes attributes of them, and 1 keeps them apart."""
    return {**(request.headers or {}), **vars(request)}


# -- sending ----------------------------------------------------------------------------------------------------------


def _wrap_send_task(tracing: Tracing[CeleryOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """The bracket around sending. What only Celery knows, and the headers, are left to :func:`_before_publish`."""
    excluded = tracing.excluded

    def begin(app: Celery, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Span, Activation] | None:
        try:
            name = str(args[0] if args else kwargs.get("name"))
            if excluded is not None and excluded(name):
                span = tracing.start_silent()
            else:
                span = tracing.start(f"send {name}", SpanKind.PRODUCER, _common(app, name, "send"))
            return span, attach(Context({**with_span(span), _SENDING: span}))
        except Exception:
            faults.report("celery: send_task")
            return None

    @functools.wraps(original)
    def send_task(self: Celery, /, *args: Any, **kwargs: Any) -> Any:
        begun = begin(self, args, kwargs) if tracing.recorded() else None
        if begun is None:
            return original(self, *args, **kwargs)
        span, activation = begun
        try:
            with suppression():
                result = original(self, *args, **kwargs)
        except BaseException as error:
            end_failed(span, error)
            raise
        else:
            span.end()
            return result
        finally:
            activation.end()

    return send_task


def _before_publish(
    headers: dict[str, Any], properties: Mapping[str, Any], exchange: str, routing_key: str, **_: Any
) -> None:
    """Complete the message, and its span if there is one: ``before_task_publish``, called inside ``send_task``.

    Here and not in the arguments of ``send_task``, because here the headers are the message's own: those of the
    caller, of the route and of the attempt before are in them by now, and nobody else holds them.
    """
    context = current()
    span: Span | None = context.get(_SENDING)  # type: ignore[assignment]
    if span is None and suppressed(context):
        return
    fields = dict[str, Any]()
    carriers.inject(fields, context)
    if "traceparent" in fields:
        headers.pop("tracestate", None)  # it belonged to the traceparent that is replaced
    headers.update(fields)
    headers[_PUBLISHED] = time.time()
    if span is not None and span.is_recording():
        task_id = headers.get("id") or properties["correlation_id"]
        span.set_attributes(_message(task_id, headers.get("root_id"), exchange, routing_key))


# -- executing --------------------------------------------------------------------------------------------------------


class _Execution:
    """What lasts from ``task_prerun`` to ``task_postrun``, kept on the task's request.

    Attributes:
        span: the span, or None where the trace is not recorded.
        activation: what is current for the task.
        handled: the exception that was being handled when it began, as in a task applied in an ``except`` block.
    """

    __slots__ = ("activation", "handled", "span")

    def __init__(self, span: Span | None, activation: Activation) -> None:
        self.span = span
        self.activation = activation
        self.handled = sys.exception()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copied or pickled request leaves it behind: None."""
        return type(None), ()


def _begin(tracing: Tracing[CeleryOptions], task: Any) -> None:
    """``task_prerun``: called just before the task's code, in its thread."""
    request: Request = task.request
    headers: dict[str, Any] = {}
    if request.is_eager:
        context = current()
    else:
        headers = _headers(request)
        texts = {key: value for key, value in headers.items() if isinstance(value, str)}
        baggage = texts.pop("baggage", None)
        if baggage is not None and (read := tracing.border.incoming(baggage)) is not None:
            texts["baggage"] = read
        context = carriers.extract(texts, Context())
    span = None
    recorded = is_recorded(context, roots=True)
    if tracing.excluded is not None and tracing.excluded(task.name):
        context = with_span(tracing.start_silent(context), context)
    elif recorded or not request.is_eager:  # the tracer may hold back what was not sampled elsewhere
        attributes = _execution_attributes(task.app, task.name, request, headers)
        started = tracing.start(f"process {task.name}", SpanKind.CONSUMER, attributes, context)
        if recorded or started.is_recording():
            span, context = started, with_span(started, context)
    setattr(request, _EXECUTION, _Execution(span, attach(context)))


def _end(task: Any, state: str | None, retval: Any) -> None:
    """``task_postrun``: called in a ``finally``, whatever ended the task."""
    execution: _Execution | None = vars(task.request).pop(_EXECUTION, None)
    if execution is None:
        return
    execution.activation.end()
    span = execution.span
    if span is None:
        return
    # On its way out to the caller: no state then, or one that no longer holds.
    error = sys.exception()
    if error is execution.handled and state is not None:
        error = None
    if error is None and state == "FAILURE" and isinstance(retval, BaseException):
        error = retval
    if state is not None:
        span.set_attribute(semconv.CELERY_TASK_STATE, state)
    reason = getattr(retval, "exc", None) if state == "RETRY" else None
    if isinstance(reason, BaseException):
        span.set_attribute(semconv.CELERY_TASK_RETRY_REASON, error_name(reason))
    if error is None or _is_expected(task, error):
        span.end()
    else:
        end_failed(span, error)


def _is_expected(task: Any, error: BaseException) -> bool:
    """Whether ``error`` is one that the task announced, or a way to say retry, ignore or reject."""
    from celery.exceptions import TaskPredicate

    return isinstance(error, (TaskPredicate, task.throws))


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
            _begin(tracing, task)
        except Exception:
            faults.report("celery: task_prerun")

    def postrun(task: Any, state: str | None, retval: Any, **_: Any) -> None:
        try:
            _end(task, state, retval)
        except Exception:
            faults.report("celery: task_postrun")

    def leaving(**_: Any) -> None:
        try:
            tracing.flush(tracing.options.flush_timeout)
        except Exception:
            faults.report("celery: flush")

    receivers = {
        "before_task_publish": before_publish,
        "task_prerun": prerun,
        "task_postrun": postrun,
        "worker_process_shutdown": leaving,  # os._exit follows: no atexit
        "worker_shutdown": leaving,
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
        Wrap("celery.app.base", "Celery.send_task", _wrap_send_task),
        Connect("celery.signals", _connect),
    ),
    records=(
        semconv.MESSAGING_SYSTEM,
        semconv.MESSAGING_OPERATION_NAME,
        semconv.MESSAGING_OPERATION_TYPE,
        semconv.MESSAGING_DESTINATION_NAME,
        semconv.MESSAGING_MESSAGE_ID,
        semconv.MESSAGING_MESSAGE_CONVERSATION_ID,
        semconv.CELERY_TASK_NAME,
        semconv.CELERY_TASK_STATE,
        semconv.CELERY_TASK_ETA,
        semconv.CELERY_TASK_RETRIES,
        semconv.CELERY_TASK_RETRY_REASON,
        semconv.QUEUE_WAIT,
        semconv.SERVER_ADDRESS,
        semconv.SERVER_PORT,
        semconv.ERROR_TYPE,
        outcome.CANCELLED,
    ),
    never=(
        "arguments of tasks",
        "results",
        "headers of messages",
        "the broker's URL, user and password",
        "the message of an exception (its class is recorded)",
    ),
)
