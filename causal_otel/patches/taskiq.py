"""taskiq: a span for each task sent and one for each attempt at it, in one trace across processes.

* Sending, ``send shop:bill`` (PRODUCER): ``kiq()`` of tasks, kickers, retries and the scheduler. The message's labels
  carry the trace context (W3C, unless propagators are set) and baggage. Outside of any span, a trace that the kicker's
  labels carry goes on, as those of a retry that was scheduled do.
* An attempt, ``process shop:bill`` (CONSUMER): a child of the span that sent the message, whatever is current in the
  worker, and current for the task, its dependencies and ``on_error`` of middlewares. What follows is in its trace:
  ``post_execute``, saving the result and acknowledging. A retry is sent inside of the attempt that has failed.

With the redis patch, commands of broker and result backend are in the task's trace. Nothing is recorded of listening,
and of polling in ``wait_result()``. Not traced: ``pre_execute``, and messages of unknown tasks or that cannot be read.

Attributes are the conventions', ``messaging.*`` (the system is ``taskiq`` where the broker is not known), and:

* ``taskiq.task.name``, and ``taskiq.task.retries``: how many attempts there were before, if a middleware retries
* ``causal.queue.wait``: seconds from when the message was sent, by two machines' clocks; a delay is part of it
* ``taskiq.task.retry.reason``: the exception that the task is sent once more for, where the result says nothing of it

A failed attempt is an ERROR with an ``exception`` event. One without a result (``NoResultError``) is none, so one that
is retried is none, unless its result is kept. Metrics: the duration of either kind, and ``causal.queue.wait``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opentelemetry.trace import SpanKind

from causal_otel import instrument, names
from causal_otel.engine.context import current_span
from causal_otel.instrument import Operation, Tracing, Wrap, after, argument, inside, suppressed, traced_call
from causal_otel.metrics.conventions import MESSAGING_CLIENT, MESSAGING_PROCESS

__all__ = ["PATCH", "TaskiqOptions"]

_SYSTEMS = {"taskiq_redis": "redis", "taskiq_aio_pika": "rabbitmq", "taskiq_aio_kafka": "kafka", "taskiq_nats": "nats"}
_CAUSE = instrument.Errors(inner=lambda error: error.__cause__ or error)  # of a SendTaskError


@dataclass(frozen=True, kw_only=True)
class TaskiqOptions(instrument.Options):
    """Options of the taskiq patch. Hooks are given the kicker or receiver, and what its method was called with.

    Args:
        excluded: names of tasks, such as ``shop:*``: neither sent nor executed in a trace that is recorded.
    """


def _operation(kind: SpanKind, verb: str, name: str, broker: Any, labels: Any, **own: Any) -> Operation:
    own[names.MESSAGING_SYSTEM] = _SYSTEMS.get(type(broker).__module__.partition(".")[0], "taskiq")
    own[names.MESSAGING_OPERATION_NAME] = own[names.MESSAGING_OPERATION_TYPE] = verb
    own[names.MESSAGING_DESTINATION_NAME] = labels.get("queue_name") or getattr(broker, "queue_name", None)
    own[names.TASKIQ_TASK_NAME] = name
    return Operation(f"{verb} {name}", {k: v for k, v in own.items() if isinstance(v, str | int | float)}, kind=kind)


def _begin_sending(tracing: Tracing[Any], kicker: Any, args: Any, kwargs: Any) -> Any:
    def describe() -> Operation:
        return _operation(SpanKind.PRODUCER, "send", kicker.task_name, kicker.broker, kicker.labels)

    return instrument.sending(tracing, kicker.task_name, kicker.labels, describe, _CAUSE, (kicker, args, kwargs))


def _made(kicker: Any, args: Any, kwargs: Any, message: Any) -> None:
    if (running := instrument.carry(message.labels)) is not None:
        running.learn({names.MESSAGING_MESSAGE_ID: message.task_id})


class _Attempt(instrument.Processing):
    def failure(self, result: Any) -> BaseException | None:
        from taskiq.exceptions import NoResultError

        return None if isinstance(result.error, NoResultError) else result.error


def _begin_attempt(tracing: Tracing[Any], receiver: Any, args: Any, kwargs: Any) -> Any:
    message = argument(1, "message", args, kwargs)
    name, labels = message.task_name, message.labels

    def describe() -> Operation:
        own: dict[str, Any] = {names.CAUSAL_QUEUE_WAIT: instrument.queue_wait(labels)}
        own[names.MESSAGING_MESSAGE_ID] = message.task_id
        if (retries := str(labels.get("_retries"))).isdecimal():  # a text, if it was scheduled
            own[names.TASKIQ_TASK_RETRIES] = int(retries)
        return _operation(SpanKind.CONSUMER, "process", name, receiver.broker, labels, **own)

    return instrument.processing(tracing, name, labels, describe, (receiver, args, kwargs), _Attempt)


def _retried(middleware: Any, args: Any, kwargs: Any, _: Any) -> None:
    error = argument(2, "exception", args, kwargs)
    if argument(1, "result", args, kwargs).error is not error and (span := current_span()) is not None:
        span.set_attribute(names.TASKIQ_TASK_RETRY_REASON, instrument.error_name(error))


PATCH = instrument.Patch(
    name="taskiq",
    versions={"taskiq": ("0.11.12", "1")},
    options=TaskiqOptions,
    targets=(
        Wrap("taskiq.kicker", "AsyncKicker.kiq", traced_call(_begin_sending, carries=True)),
        Wrap("taskiq.kicker", "AsyncKicker._prepare_message", after(_made, always=True)),
        Wrap("taskiq.receiver.receiver", "Receiver.callback", inside(instrument.delivering, always=True)),
        Wrap("taskiq.receiver.receiver", "Receiver.run_task", traced_call(_begin_attempt, carries=True)),
        Wrap("taskiq.receiver.receiver", "Receiver.prefetcher", suppressed),
        Wrap("taskiq.task", "AsyncTaskiqTask.wait_result", suppressed),
        Wrap("taskiq", "SimpleRetryMiddleware.on_error", after(_retried)),
        Wrap("taskiq", "SmartRetryMiddleware.on_error", after(_retried), optional=True),  # newer than 0.11.12
    ),
    records=(
        *(names.MESSAGING_SYSTEM, names.MESSAGING_OPERATION_NAME, names.MESSAGING_OPERATION_TYPE),
        *(names.MESSAGING_DESTINATION_NAME, names.MESSAGING_MESSAGE_ID),
        *(names.TASKIQ_TASK_NAME, names.TASKIQ_TASK_RETRIES, names.TASKIQ_TASK_RETRY_REASON),
        *(names.CAUSAL_QUEUE_WAIT, names.ERROR_TYPE, names.CAUSAL_CANCELLED, names.CAUSAL_ABANDONED),
    ),
    never=("arguments of tasks", "results", "labels of messages"),
    metrics={SpanKind.PRODUCER: MESSAGING_CLIENT, SpanKind.CONSUMER: MESSAGING_PROCESS},
)
