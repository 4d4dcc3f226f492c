"""Sending: a span until the broker has acknowledged the message, whose headers carry the span's context.

``send()`` puts a message into a buffer, and returns a future of its delivery. A message is completed where it is put
into a batch, which is where ``send()`` and batches of the application's own meet.
"""

from __future__ import annotations

import asyncio
import functools
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from causal_otel import names
from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.instrument import messages, parts
from causal_otel.instrument.calls import argument, excluded_call, traced_call
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.operation import Running
from causal_otel.patches.aiokafka.operations import SEND, describe, position, texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.awaiting import Call
    from causal_otel.instrument.calls import Args, Kwargs, Wrapper
    from causal_otel.instrument.operation import Operation
    from causal_otel.instrument.tracing import Tracing

__all__ = ["TARGETS"]

_REPLACED = frozenset({"traceparent", "tracestate", "baggage"})


class _Delivery:
    """A message, or a batch of them, on its way: the call that puts it into a buffer, and then its delivery.

    Args:
        running: the operation.
    """

    args = None

    def __init__(self, running: Running) -> None:
        self.inside = running.inside
        self._running: Running | None = running
        self._began = perf_counter()
        self._buffered = 0.0

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It is in the buffer, or has not got there."""
        for key, seconds in (parts.take(self._began) or {}).items():
            if self._running is not None:
                self._running.part(key, seconds)
        if error is None and asyncio.isfuture(result):
            self._buffered = perf_counter()
            result.add_done_callback(self._delivered)
        else:
            self._end(None, error)

    def _delivered(self, future: asyncio.Future[Any]) -> None:
        """Called by the event loop: the broker has answered, or nobody waits for that."""
        try:
            if future.cancelled():
                self._end(None, asyncio.CancelledError())
                return
            # Not future.exception(): asyncio tells of an exception that nobody has asked for.
            error: BaseException | None = getattr(future, "_exception", None)
            if self._running is not None:
                self._running.part(names.CAUSAL_SERVER, perf_counter() - self._buffered)
            self._end(None if error else future.result(), error)
        except Exception:
            faults.report("aiokafka: delivery")

    def _end(self, metadata: Any, error: BaseException | None) -> None:
        running, self._running = self._running, None
        if running is not None:
            if metadata is not None:  # of acks=0 there is none
                running.learn(position(metadata))
            running.end(metadata, error)

    def __del__(self) -> None:
        if self._running is not None:  # its event loop has ended before
            with suppress(Exception):
                self._end(None, GeneratorExit())


def _begin(tracing: Tracing[Any], producer: Any, args: Args, kwargs: Kwargs) -> Call | None:
    topic = argument(0, "topic", args, kwargs)

    def describe_message() -> Operation:
        operation: Operation = describe(SEND, producer, topic)
        if argument(1, "value", args, kwargs) is None:
            return operation.of_this_call({names.MESSAGING_KAFKA_MESSAGE_TOMBSTONE: True})
        return operation

    given = {} if context.in_trace() else texts(argument(5, "headers", args, kwargs))
    call = messages.sending(tracing, topic, given, describe_message, objects=(producer, args, kwargs))
    return _Delivery(call) if isinstance(call, Running) else call


def _begin_batch(tracing: Tracing[Any], producer: Any, args: Args, kwargs: Kwargs) -> Call | None:
    topic = argument(1, "topic", args, kwargs)
    if tracing.excluded is not None and tracing.excluded(topic):
        return excluded_call(tracing)
    # What the messages carry is what was current when each was made; so this is a call to the broker, says the
    # convention, and creates no message.
    operation: Operation = describe(SEND, producer, topic, kind=SpanKind.CLIENT)
    count = argument(0, "batch", args, kwargs).record_count()
    operation = operation.of_this_call({names.MESSAGING_BATCH_MESSAGE_COUNT: count})
    running = tracing.leaf(operation, objects=(producer, args, kwargs))
    return None if running is None else _Delivery(running)


def _carrying(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the method of a batch that a message is appended by."""

    @functools.wraps(original)
    def append(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if tracing.active:
            try:
                kwargs = _carried(self, kwargs)
            except Exception:
                faults.report("aiokafka: headers")
        return original(self, *args, **kwargs)

    return append


def _carried(batch: Any, kwargs: Kwargs) -> Kwargs:
    """The arguments, with headers that carry what is current. The caller's own stay as they are."""
    fields: dict[str, str] = {}
    messages.carry(fields, ahead=True)
    if not fields or type(batch._builder).__name__.startswith("Legacy"):  # for brokers that know no headers
        return kwargs
    replaced = {name.lower() for name in fields}
    if "traceparent" in replaced:
        replaced |= _REPLACED
    headers = [header for header in kwargs.get("headers") or () if header[0].lower() not in replaced]
    headers += [(name, value.encode()) for name, value in fields.items()]
    return {**kwargs, "headers": headers}


def _noted(key: str) -> Wrapper:
    """A wrapper for what sending waits for.

    Args:
        key: the part.
    """

    def wrap(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def wait(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            if not tracing.active:
                return await original(self, *args, **kwargs)
            began = perf_counter()
            try:
                return await original(self, *args, **kwargs)
            finally:
                parts.note(key, perf_counter() - began)

        return wait

    return wrap


_ACCUMULATOR = "aiokafka.producer.message_accumulator"

TARGETS = (
    Wrap("aiokafka.producer.producer", "AIOKafkaProducer.send", traced_call(_begin, carries=True)),
    Wrap("aiokafka.producer.producer", "AIOKafkaProducer.send_batch", traced_call(_begin_batch)),
    Wrap(_ACCUMULATOR, "BatchBuilder.append", _carrying),
    Wrap(_ACCUMULATOR, "MessageBatch.wait_drain", _noted(names.CAUSAL_LOCK_WAIT), optional=True),
    Wrap("aiokafka.client", "AIOKafkaClient._wait_on_metadata", _noted(names.CAUSAL_DISCOVERY), optional=True),
)
