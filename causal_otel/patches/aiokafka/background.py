"""What aiokafka does on its own account, in nobody's context, and its plumbing: connecting, transactions, commits."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context

from causal_otel.engine import context
from causal_otel.instrument.calls import detached, plumbing_call
from causal_otel.instrument.declaration import Wrap
from causal_otel.patches.aiokafka.operations import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.calls import Wrapper
    from causal_otel.instrument.operation import Operation
    from causal_otel.instrument.tracing import Tracing

__all__ = ["TARGETS"]


def _starting(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """For the function by which aiokafka starts its tasks, which outlive the call that happens to start them."""

    @functools.wraps(original)
    def create_task(*args: Any, **kwargs: Any) -> Any:
        if not tracing.active:
            return original(*args, **kwargs)
        activation = context.attach(Context())
        try:
            return original(*args, **kwargs)
        finally:
            activation.end()

    return create_task


def _plumbing(verb: str, *, nests: bool = False) -> Wrapper:
    """A wrapper for a method that is plumbing.

    Args:
        verb: the name of its spans.
        nests: whether other plumbing runs inside.
    """

    def describe_call(tracing: Tracing[Any], client: Any, args: Any, kwargs: Any) -> Operation:
        # A client is what a producer or a consumer has inside, and so has none itself.
        owner = client if hasattr(client, "client") or hasattr(client, "_client") else _Owner(client)
        operation: Operation = describe(verb, owner, None, plumbing=True)
        return operation

    return plumbing_call(describe_call, nests=nests)


class _Owner:
    """Stands for whoever has a client.

    Args:
        client: the client.
    """

    def __init__(self, client: Any) -> None:
        self.client = client


_PRODUCER = "aiokafka.producer.producer"
_CONSUMER = "aiokafka.consumer.consumer"
_WITH_TASKS = (
    *("aiokafka.client", "aiokafka.conn", "aiokafka.producer.sender"),
    *("aiokafka.consumer.fetcher", "aiokafka.consumer.group_coordinator"),
)

TARGETS = (
    *(Wrap(module, "create_task", _starting, optional=True) for module in _WITH_TASKS),
    Wrap("aiokafka.conn", "AIOKafkaConnection.connect", detached),
    Wrap("aiokafka.client", "AIOKafkaClient.bootstrap", _plumbing("connect")),
    Wrap(_CONSUMER, "AIOKafkaConsumer.start", _plumbing("start", nests=True)),
    Wrap(_CONSUMER, "AIOKafkaConsumer.commit", _plumbing("commit")),
    Wrap(_PRODUCER, "AIOKafkaProducer.begin_transaction", _plumbing("begin_transaction")),
    Wrap(_PRODUCER, "AIOKafkaProducer.commit_transaction", _plumbing("commit_transaction")),
    Wrap(_PRODUCER, "AIOKafkaProducer.abort_transaction", _plumbing("abort_transaction")),
    Wrap(_PRODUCER, "AIOKafkaProducer.send_offsets_to_transaction", _plumbing("send_offsets_to_transaction")),
)
