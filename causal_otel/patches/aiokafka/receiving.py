"""Receiving: a span for each poll that has given messages, with links to what has sent them."""

from __future__ import annotations

import time
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import INVALID_SPAN, Link

from causal_otel import names
from causal_otel.engine import context
from causal_otel.engine.outcome import is_cancellation
from causal_otel.instrument import messages
from causal_otel.instrument.calls import traced_call
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.stopwatch import unix_time
from causal_otel.patches.aiokafka.operations import describe, position, texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.trace import Span

    from causal_otel.instrument.calls import Args, Kwargs
    from causal_otel.instrument.operation import Operation
    from causal_otel.instrument.tracing import Tracing

__all__ = ["TARGETS", "links_of", "sent_at", "topic_of"]

_MOST_LINKS = 128
"""OpenTelemetry's default for a span. Reading the context of a message takes microseconds, on the event loop."""


def topic_of(received: Sequence[Any]) -> str | None:
    """The topic of messages; None: there are several."""
    found = {message.topic for message in received}
    return found.pop() if len(found) == 1 else None


def links_of(received: Sequence[Any]) -> list[Link]:
    """Links to what has sent messages, once for each sending."""
    found = {}
    for message in received[:_MOST_LINKS]:
        sender = messages.sender(texts(message.headers))
        if sender is not None:
            found[sender.span_id] = sender
    return [Link(sender) for sender in found.values()]


def sent_at(message: Any) -> float:
    """When a message was sent: Unix time in seconds, as its producer says."""
    wait = messages.queue_wait(texts(message.headers))
    return float(message.timestamp) / 1000 if wait is None else time.time() - wait


class _Poll:
    """A poll under way, which becomes a span if it gives a message, or fails.

    A consumer waits for messages for as long as there are none, which is no work of anybody's. So the span begins when
    the message that came first was sent, if that was after the poll had begun.

    Args:
        tracing: the patch's handle.
        consumer: the consumer.
        given: its arguments.
    """

    args = inside = None

    def __init__(self, tracing: Tracing[Any], consumer: Any, given: tuple[Args, Kwargs]) -> None:
        self._tracing = tracing
        self._consumer = consumer
        self._given = given
        self._began = perf_counter_ns()

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """It has given messages, or none."""
        if error is not None:
            self._failed(error)
            return
        batch = isinstance(result, dict)
        received = [message for each in result.values() for message in each] if batch else [result]
        if not received:
            return
        topic = topic_of(received)
        operation: Operation = describe("receive", self._consumer, topic)
        own: dict[str, Any] = {names.MESSAGING_BATCH_MESSAGE_COUNT: len(received)} if batch else position(received[0])
        now, waited = perf_counter_ns(), perf_counter_ns() - self._began
        ago = int((time.time() - min(map(sent_at, received))) * 1e9)
        if ago > waited:
            own[names.CAUSAL_QUEUE_WAIT] = (ago - waited) / 1e9
        self._span(operation.of_this_call(own), now - min(waited, max(ago, 0)), links_of(received), result)

    def _failed(self, error: BaseException) -> None:
        # Nothing has come of a poll that is given up, or whose consumer is stopped.
        if (
            isinstance(error, Exception)
            and not is_cancellation(error)
            and type(error).__name__ != "ConsumerStoppedError"
        ):
            self._span(describe("receive", self._consumer, None), self._began, [], None, error)

    def _span(
        self, operation: Operation, began: int, links: list[Link], result: Any, error: BaseException | None = None
    ) -> None:
        tracing = self._tracing
        topic = operation.attributes.get(names.MESSAGING_DESTINATION_NAME)
        if topic is not None and tracing.excluded is not None and tracing.excluded(topic):
            return
        span: Span = INVALID_SPAN
        if tracing.recorded():
            attributes = {**operation.attributes, **(operation.own or {})}
            at = unix_time(context.current_span(), began)
            span = tracing.start(operation.name, operation.kind, attributes, start_time=at, links=links)
        running = tracing.running(operation, span, objects=(self._consumer, *self._given))
        running.end(result, error, duration=perf_counter_ns() - began)


def _begin(tracing: Tracing[Any], consumer: Any, args: Args, kwargs: Kwargs) -> _Poll | None:
    return _Poll(tracing, consumer, (args, kwargs)) if tracing.options.receive_spans else None


_MODULE = "aiokafka.consumer.consumer"

TARGETS = (
    Wrap(_MODULE, "AIOKafkaConsumer.getone", traced_call(_begin)),
    Wrap(_MODULE, "AIOKafkaConsumer.getmany", traced_call(_begin)),
)
