"""Sending a task: one PRODUCER span for each message, and what the message carries.

``Celery.send_task`` is where all ways to send meet. Headers are completed further inside, in the function that
``AMQP._create_task_sender`` makes: there they are the message's own, with those of the caller, of the route and of the
attempt before in them, and nobody else holds them. Signals are not used: one with a receiver costs more than a span.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import INVALID_SPAN, SpanKind

from causal_otel import names
from causal_otel._internal import faults
from causal_otel._internal.binding import original_of, remember
from causal_otel.engine import carriers, w3c
from causal_otel.engine.contained import users_span
from causal_otel.engine.context import SPAN_KEY, SUPPRESSED, begin, current, current_span, is_suppressed, restore
from causal_otel.instrument.errors import BY_CLASS
from causal_otel.instrument.operation import Operation
from causal_otel.instrument.parts import noteworthy, take, unread
from causal_otel.patches.celery.attempt import ATTEMPT
from causal_otel.patches.celery.attributes import common
from causal_otel.patches.celery.canvas import CANVAS, CHORD_UNLOCK
from causal_otel.patches.celery.edges import RESCHEDULE
from causal_otel.patches.celery.headers import BEAT, CHORD_SIZE, FANOUT, LINKS, PUBLISHED, replaced
from causal_otel.patches.celery.roles import Message, add_edges, is_rescheduled
from causal_otel.patches.celery.sending import DUE, SENDING, Sending

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context

    from causal_otel.instrument.operation import Running
    from causal_otel.instrument.tracing import Tracing
    from causal_otel.patches.celery.options import CeleryOptions

__all__ = ["connect_senders", "wrap_create_task_sender", "wrap_send_task"]

_OPERATIONS = "_causal_otel_operations"
"""The attribute of an application that keeps what sending each of its tasks is."""
_KEPT = 1024
_HEADERS = 10  # the position of ``headers`` after the message
_SITE = "celery: send_task"


# -- the span ---------------------------------------------------------------------------------------------------------


def wrap_send_task(tracing: Tracing[CeleryOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """``Celery.send_task``: the span lasts from choosing the queue until the broker has the message."""
    wanted = tracing.wanted if tracing.measures else tracing.recorded
    excluded = tracing.excluded

    @functools.wraps(original)
    def send_task(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        sending = None
        try:
            name = args[0] if args else kwargs.get("name")
            if name == CHORD_UNLOCK or (excluded is not None and tracing.active and excluded(str(name))):
                sending = _silent(tracing, name)
            elif wanted():
                sending = _sending(tracing, self, str(name), args, kwargs)
        except Exception:
            faults.report(_SITE)
        if sending is None:
            return original(self, *args, **kwargs)
        token = begin(sending.inside)
        try:
            result = original(self, *args, **kwargs)
        except BaseException as error:
            restore(token)
            _end(sending, None, error)
            raise
        restore(token)
        _end(sending, result, None)
        return result

    return send_task


def _silent(tracing: Tracing[CeleryOptions], name: Any) -> Sending | None:
    """A message without a span: that of an excluded task, or one of Celery's own."""
    around = current()
    if is_suppressed(around):
        return None
    return Sending(None, around, None if name == CHORD_UNLOCK else tracing.start_excluded())


def _sending(
    tracing: Tracing[CeleryOptions], app: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Sending | None:
    running = tracing.leaf(_operation(app, name), BY_CLASS, (app, args, kwargs))
    if running is None:
        return None
    span = running.span
    return Sending(running, current(), None if span is INVALID_SPAN else users_span(span))


def _operation(app: Any, name: str) -> Operation:
    """What sending a task is: one for all its messages."""
    known: dict[str, Operation] | None = vars(app).get(_OPERATIONS)
    if known is None:
        known = vars(app)[_OPERATIONS] = {}
    found = known.get(name)
    if found is None:
        found = Operation(f"send {name}", common(app, name, "send"), kind=SpanKind.PRODUCER)
        if len(known) < _KEPT:
            known[name] = found
    return found


def _end(sending: Sending, result: Any, error: BaseException | None) -> None:
    running = sending.running
    if running is None:
        return
    try:
        if unread():
            parts = take(sending.began)
            if parts is not None:
                running.span.set_attributes(noteworthy(parts))
        running.end(result, error)
    except Exception:
        faults.report(_SITE)


# -- the message ------------------------------------------------------------------------------------------------------


def wrap_create_task_sender(tracing: Tracing[CeleryOptions], original: Callable[..., Any]) -> Callable[..., Any]:
    """``AMQP._create_task_sender``, which each application calls once."""

    @functools.wraps(original)
    def create_task_sender(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return _carrying(tracing, self, original(self, *args, **kwargs))

    return create_task_sender


def connect_senders(tracing: Tracing[CeleryOptions]) -> Callable[[], None]:
    """Do the same for the applications that have sent something already; undone, none has a sender of ours."""
    for amqp, sender in _senders():
        if original_of(sender) is None:
            vars(amqp)[_SENDER] = _carrying(tracing, amqp, sender)

    def undo() -> None:
        for amqp, sender in _senders():
            original = original_of(sender)
            if original is not None:
                vars(amqp)[_SENDER] = original

    return undo


_SENDER = "send_task_message"


def _senders() -> list[tuple[Any, Callable[..., Any]]]:
    """The senders that applications keep, each with whose it is."""
    from celery import _state

    found = []
    for app in list(_state._get_active_apps()):  # type: ignore[attr-defined]
        amqp = vars(app).get("amqp")
        sender = None if amqp is None else vars(amqp).get(_SENDER)
        if sender is not None:
            found.append((amqp, sender))
    return found


def _carrying(tracing: Tracing[CeleryOptions], amqp: Any, send: Callable[..., Any]) -> Callable[..., Any]:
    from celery.signals import after_task_publish, before_task_publish, task_sent

    @functools.wraps(send)
    def send_task_message(producer: Any, name: Any, message: Any, *args: Any, **kwargs: Any) -> Any:
        sending = None
        if tracing.active and len(args) <= _HEADERS - 3:
            try:
                sending = _complete(tracing, amqp, str(name), message, args, kwargs)
            except Exception:
                faults.report("celery: send_task_message")
        if sending is None or before_task_publish.receivers or after_task_publish.receivers or task_sent.receivers:
            return send(producer, name, message, *args, **kwargs)
        # Nobody but the broker's client is called, whose commands are not to be recorded by anybody.
        token = begin({**sending.inside, **SUPPRESSED})  # type: ignore[arg-type]  # any dict serves as a context
        try:
            return send(producer, name, message, *args, **kwargs)
        finally:
            restore(token)

    remember(send_task_message, send)
    return send_task_message


def _complete(
    tracing: Tracing[CeleryOptions], amqp: Any, name: str, message: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Sending | None:
    """Put into ``kwargs`` the headers that carry the trace, and tell the span what only now is known of the message.

    Returns:
        The sending that the message belongs to, if there is one.
    """
    around = current()
    sending: Sending | None = None
    running = span = None
    if len(around) > 1 or SPAN_KEY not in around:  # else there is a span, which is not recorded, and nothing else
        sending = around.get(SENDING)  # type: ignore[assignment]
        if sending is not None:
            running, around, span = sending.running, sending.outer, sending.span
        elif is_suppressed(around):
            return None
    fields: dict[str, Any] = carriers.injected(around, span)
    if len(around) > 1 or DUE in around:
        _add_edges(fields, tracing, around, running, name, message)
    fields[PUBLISHED] = time.time()
    if running is not None:
        about = message.headers or message.body
        task_id = about.get("id")
        learned = {
            names.MESSAGING_MESSAGE_ID: task_id,
            names.MESSAGING_MESSAGE_CONVERSATION_ID: about.get("root_id") or task_id,
        }
        destination, fanout = _destination(amqp, args, kwargs)
        if destination is not None:
            learned[names.MESSAGING_DESTINATION_NAME] = destination
        if fanout:
            fields[FANOUT] = True
        running.learn(learned)
    headers = kwargs.get("headers")
    kwargs["headers"] = replaced(headers, fields) if headers else fields
    return sending


def _add_edges(
    fields: dict[str, Any],
    tracing: Tracing[CeleryOptions],
    around: Context,
    running: Running | None,
    name: str,
    message: Any,
) -> None:
    """Add what a message is linked to that is sent inside an attempt or a canvas, or that beat sends.

    Where nothing is recorded there are no links, but for the one that begins a trace, whose sampling is its own.
    """
    if DUE in around:
        fields[BEAT] = True
    attempt: Any = around.get(ATTEMPT)
    canvas: Any = around.get(CANVAS)
    if attempt is None and canvas is None:
        return
    try:
        sent = Message(name, message)
        recorded = running is not None and running.span.is_recording()
        known = attempt is not None and recorded and add_edges(fields, tracing, sent, attempt)
        if canvas is not None:
            if recorded and canvas.sizes and (sent.chord or sent.chain):
                fields[CHORD_SIZE] = canvas.sizes
            if recorded and not known and canvas.sender:
                fields[LINKS] = canvas.sender
        elif not known and tracing.options.link_when.rescheduled and is_rescheduled(sent, attempt):
            span = current_span()
            traceparent = fields.get("traceparent") or (None if span is None else w3c.traceparent(span))
            if traceparent:
                fields[LINKS] = f"{RESCHEDULE}={traceparent}"
    except Exception:
        faults.report("celery: links of a message")


def _destination(amqp: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str | None, bool]:
    """Where a message goes, as Celery decides it: the queue, or ``exchange:routing_key``; and whether to all queues."""
    queue, exchange, routing_key = kwargs.get("queue"), kwargs.get("exchange"), kwargs.get("routing_key")
    if args:
        exchange, routing_key, queue = (*args, *(exchange, routing_key, queue)[len(args) :])[:3]
    if not exchange and not routing_key and queue is not None and not isinstance(queue, str):
        of_queue = queue.exchange
        if of_queue is not None and of_queue.type == "direct":  # nearly always
            return queue.name, False
    if queue is None and exchange is None:
        queue = amqp.default_queue
    elif isinstance(queue, str):
        queue = amqp.queues[queue]
    of_queue = getattr(queue, "exchange", None)
    kind = kwargs.get("exchange_type") or getattr(of_queue, "type", None) or "direct"
    if kind == "direct" and not (exchange and routing_key):
        return getattr(queue, "name", None), False
    if exchange is None:
        exchange = getattr(of_queue, "name", None) or amqp.default_exchange
        routing_key = routing_key or getattr(queue, "routing_key", None) or amqp.app.conf.task_default_routing_key
    place = ":".join(filter(None, (getattr(exchange, "name", exchange), routing_key)))
    return place or None, kind == "fanout"
