"""Sending a task: one PRODUCER span for each message, and the trace context in its headers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, create_key
from opentelemetry.trace import SpanKind

from causal_otel.engine import carriers
from causal_otel.engine.context import current, is_suppressed, suppressed_context, with_span
from causal_otel.instrument.calls import Args, Inside, Kwargs
from causal_otel.instrument.operation import Operation, Running
from causal_otel.instrument.tracing import Tracing
from causal_otel.patches.celery.attributes import PUBLISHED, common, message
from causal_otel.patches.celery.options import CeleryOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery

    from causal_otel.instrument.awaiting import Call

__all__ = ["begin_sending", "complete_message"]

_SENDING = create_key("causal-otel-celery-sending")
"""The key in a context of the sending that is under way."""
_EXCLUDED = Operation("excluded", {})


def begin_sending(tracing: Tracing[CeleryOptions], app: Celery, args: Args, kwargs: Kwargs) -> Call:
    """Begin the span of sending. :func:`complete_message` adds what only Celery knows, and writes the headers."""
    name = str(args[0] if args else kwargs.get("name"))
    if tracing.excluded is not None and tracing.excluded(name):
        excluded = tracing.start_excluded()
        return Inside(Context({**suppressed_context(), **with_span(excluded), _SENDING: Running(_EXCLUDED, excluded)}))
    operation = Operation(f"send {name}", common(app, name, "send"), kind=SpanKind.PRODUCER)
    running = tracing.begin(operation, objects=(app, args, kwargs))
    running.inside = Context({**suppressed_context(), **with_span(running.span), _SENDING: running})
    return running


def complete_message(
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
