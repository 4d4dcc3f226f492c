"""Pub/sub: whose context handlers run in, and the spans of messages that are received, if asked for.

A message carries no context, and whoever listens does so for everybody: what is done with a message is a trace of its
own, and not a part of the request in which listening began.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from causal_otel.engine import context
from causal_otel.instrument.calls import detached, excluded_call, suppressed, traced_call
from causal_otel.instrument.declaration import Wrap
from causal_otel.instrument.operation import Operation
from causal_otel.names import (
    MESSAGING_DESTINATION_NAME,
    MESSAGING_OPERATION_NAME,
    MESSAGING_OPERATION_TYPE,
    MESSAGING_SYSTEM,
)
from causal_otel.patches.redis.operations import endpoint, server

if TYPE_CHECKING:
    from collections.abc import Callable

    from causal_otel.instrument.awaiting import Call
    from causal_otel.instrument.calls import Args, Kwargs
    from causal_otel.instrument.tracing import Tracing
    from causal_otel.patches.redis.operations import Endpoint

__all__ = ["targets"]

_HANDLERS = {"message": "channels", "pmessage": "patterns", "smessage": "shard_channels"}
"""Kinds of messages, and where a subscription has its handlers for them."""
_CACHED = 256  # channels and patterns
_LONGEST = 256  # characters of a channel's name


@functools.lru_cache(_CACHED)
def _operation(name: str, channel: str, endpoint: Endpoint) -> Operation:
    attributes = {
        MESSAGING_SYSTEM: "redis",
        MESSAGING_OPERATION_NAME: name,
        MESSAGING_OPERATION_TYPE: name,
        MESSAGING_DESTINATION_NAME: channel,
        **server(endpoint),
    }
    return Operation(f"{name} {channel}", attributes, kind=SpanKind.CONSUMER)


def _begin(tracing: Tracing[Any], pubsub: Any, args: Args, kwargs: Kwargs) -> Call | None:
    """A response that has arrived at a subscription."""
    response = args[0] if args else kwargs.get("response")
    if not isinstance(response, list | tuple) or len(response) < 3:
        return None
    handlers = _HANDLERS.get(_text(response[0]))
    if handlers is None:
        return None
    handler = getattr(pubsub, handlers, {}).get(response[1])
    channel = _text(response[1])  # or the pattern, of which there are fewer than of channels
    channel = tracing.shortened(MESSAGING_DESTINATION_NAME, channel, _LONGEST)
    operation = _operation("process" if handler else "receive", channel, endpoint(pubsub))
    if tracing.excluded is not None and operation.fits(tracing.excluded):
        return excluded_call(tracing)
    running = tracing.begin(operation, objects=(pubsub, args, kwargs))
    running.inside = context.with_span(running.span)
    return running


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


_handling = traced_call(_begin)


def _received(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    return _handling(tracing, original) if tracing.options.consumer_spans else original


def _silent(tracing: Tracing[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    return detached(tracing, suppressed(tracing, original))


def targets(driver: str) -> tuple[Wrap, ...]:
    """Where messages are received and listened for.

    Args:
        driver: the package, ``redis`` or ``valkey``.
    """
    half, other = driver, f"{driver}.asyncio"
    # Databases of which one is used as long as it is well are asked again and again how they are.
    only_redis = (Wrap("redis.background", "BackgroundScheduler.run_recurring_async", _silent, optional=True),)
    parsers = {"resp3": ("RESP3Parser", "AsyncRESP3Parser")}
    if driver == "redis":
        parsers["hiredis"] = ("HiredisParser", "AsyncHiredisParser")  # since 6
    return (
        Wrap(f"{half}.client", "PubSub.handle_message", _received),
        Wrap(f"{other}.client", "PubSub.handle_message", _received),
        Wrap(f"{half}.client", "PubSubWorkerThread.run", detached),
        Wrap(f"{other}.client", "PubSub.run", detached),
        # What the server sends without being asked is read by whoever waits for an answer.
        *(
            Wrap(f"{half}._parsers.{module}", f"_{kind}.handle_push_response", detached, optional=True)
            for module, kinds in parsers.items()
            for kind in kinds
        ),
        *(only_redis if driver == "redis" else ()),
    )
