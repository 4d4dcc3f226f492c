"""Processing: what the application does with messages, as a block of its own, because the driver does not see it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import INVALID_SPAN

from causal_otel import names
from causal_otel._internal import faults
from causal_otel.engine import context
from causal_otel.engine.contained import users_span
from causal_otel.instrument import messages
from causal_otel.instrument.awaiting import ended
from causal_otel.instrument.calls import excluded_call
from causal_otel.instrument.messages import Processing
from causal_otel.patches.aiokafka.operations import describe, position, texts
from causal_otel.patches.aiokafka.receiving import links_of, sent_at, topic_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from aiokafka import AIOKafkaConsumer, ConsumerRecord
    from opentelemetry.trace import Span

    from causal_otel.instrument.awaiting import Call
    from causal_otel.instrument.operation import Operation
    from causal_otel.instrument.tracing import Tracing

__all__ = ["ProcessingBlock", "enable_processing", "processing"]

_SITE = "aiokafka: processing"


class ProcessingBlock:
    """A block in which messages are processed; see :func:`processing`."""

    _tracing: Tracing[Any] | None = None

    def __init__(self, received: Any, consumer: Any) -> None:
        self._received = received
        self._consumer = consumer
        self._call: Call | None = None
        self._activation: context.Activation | None = None

    def __enter__(self) -> Span:
        """Begin the block: its span, for attributes of your own."""
        tracing = self._tracing
        if tracing is not None and tracing.active:
            try:
                self._call = call = self._begin(tracing)
                if call is not None and call.inside is not None:
                    self._activation = context.attach(call.inside)
            except Exception:
                faults.report(_SITE)
        return users_span(self._call.running.span) if isinstance(self._call, Processing) else INVALID_SPAN

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        activation, self._activation = self._activation, None
        call, self._call = self._call, None
        if activation is not None:
            activation.end()
        if call is not None:
            ended(call, None, error, _SITE)

    def _begin(self, tracing: Tracing[Any]) -> Call | None:
        received = self._received
        consumer = self._consumer
        if not isinstance(received, list | tuple):
            return self._begin_one(tracing, received)
        if not received:
            return None
        topic = topic_of(received)
        if topic is not None and tracing.excluded is not None and tracing.excluded(topic):
            return excluded_call(tracing)
        if not tracing.wanted():
            return None
        operation: Operation = describe("process", consumer, topic)
        operation = operation.of_this_call(
            {names.MESSAGING_BATCH_MESSAGE_COUNT: len(received), **_waited(min(map(sent_at, received)))}
        )
        running = tracing.begin(operation, objects=(consumer, tuple(received), {}), links=links_of(received))
        return Processing(tracing, running, context.with_span(running.span))

    def _begin_one(self, tracing: Tracing[Any], message: Any) -> Call:
        def describe_message() -> Operation:
            operation: Operation = describe("process", self._consumer, message.topic)
            return operation.of_this_call({**position(message), **_waited(sent_at(message))})

        objects: tuple[Any, ...] = (self._consumer, (message,), {})
        return messages.processing(tracing, message.topic, texts(message.headers), describe_message, objects)


def processing(
    received: ConsumerRecord[Any, Any] | Sequence[ConsumerRecord[Any, Any]], consumer: AIOKafkaConsumer | None = None
) -> ProcessingBlock:
    """Trace what is done with a message.

    ::

        async for message in consumer:
            with processing(message, consumer):
                await handle(message)

    One message is processed in the trace of what has sent it, whatever is current here: the block's span is a child of
    the sending, and is current inside. Several are processed in one span, a child of the current one if there is one,
    which has a link to each sending. An exception that leaves the block is recorded and goes on; cancellation is marked
    ``causal.cancelled`` and is no error. Where the patch is not installed, or the topic is excluded, the block is just
    run. No ``async with`` is needed.

    Args:
        received: the message, or a list of several, as the consumer has given them.
        consumer: what has given them: its group, its client's id and its broker are recorded. None: they are not.
    """
    return ProcessingBlock(received, consumer)


def _waited(sent: float) -> dict[str, Any]:
    return {names.CAUSAL_QUEUE_WAIT: max(0.0, time.time() - sent)}


def enable_processing(tracing: Tracing[Any]) -> Callable[[], None]:
    """Have :func:`processing` trace, until what this returns is called."""
    ProcessingBlock._tracing = tracing

    def disable() -> None:
        if ProcessingBlock._tracing is tracing:
            ProcessingBlock._tracing = None

    return disable
