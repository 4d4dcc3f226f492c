"""gRPC's asyncio API, ``grpc.aio``: calls of other services, and those that a server is asked for.

A call is one CLIENT span, over any channel, also one that was made before, around the interceptors that you have given.
It is a child of the current span, and never current itself. It lasts until gRPC tells that the call is over. If the
responses are a stream, what you do between two of them does not count. A call that nobody has any more, such as a
stream that is left, is marked ``causal.abandoned`` when gRPC or Python has collected it; one that you cancel,
``causal.cancelled``.

A call that is served is one SERVER span, from its arrival to the end of its handler, which is current for your
interceptors and the handler: a coroutine, an async generator, or a function or generator in the server's thread pool.
It goes on with the trace of whoever calls. Servers that were made before ``install()`` are not traced. A call that
never gets to its handler (its message cannot be read or does not arrive, there are too many at once) is marked
``causal.abandoned``, as gRPC does not tell which it was.

The call carries the span's context in its metadata (as ``opentelemetry.propagate`` says, W3C by default) in place of
any that was there; not to hosts that the options leave out. The metadata that you give stays as it is. Outside any span
a call begins a trace, and carries it whether or not it is sampled; with ``require_parent=True`` it does neither. Where
nothing is recorded the current context is carried, if there is one. Baggage goes to allowed hosts only.

Where the time went: ``causal.server`` (until the first response, connecting included, which gRPC does not tell apart)
and, of a stream of responses, ``causal.fetch`` (each wait for another one); of a served call whose handler is a
coroutine ``causal.cpu`` and ``causal.loop.ready.wait``.

Not traced: gRPC's API without asyncio, single messages of a stream, calls that are excluded, and OTLP's own services.

Span names are methods, ``shop.Orders/Get``, or ``grpc`` of one that a server does not have. Attributes:
``rpc.system.name``, ``rpc.method``, ``rpc.method_original`` (where a server does not have it),
``rpc.response.status_code``, ``server.address`` and ``server.port`` (of the channel's target), ``client.address``, and
``error.type``: the status, or the class of what a handler has raised, which is an ``exception`` event as well. All
statuses but ``OK`` are errors of a client; of a server ``UNKNOWN``, ``DEADLINE_EXCEEDED``, ``UNIMPLEMENTED``,
``INTERNAL``, ``UNAVAILABLE`` and ``DATA_LOSS``. No message, no metadata and no details of a status are recorded.

Metrics: ``rpc.client.call.duration`` and ``rpc.server.call.duration``.

Options: :class:`GrpcOptions`.
"""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.trace import SpanKind

from causal_otel.instrument.declaration import Patch
from causal_otel.instrument.options import ClientOptions
from causal_otel.metrics.conventions import RPC_CLIENT, RPC_SERVER
from causal_otel.names import (
    CAUSAL_ABANDONED,
    CAUSAL_CANCELLED,
    CAUSAL_CPU,
    CAUSAL_FETCH,
    CAUSAL_LOOP_READY_WAIT,
    CAUSAL_SERVER,
    CLIENT_ADDRESS,
    ERROR_TYPE,
    RPC_METHOD,
    RPC_METHOD_ORIGINAL,
    RPC_RESPONSE_STATUS_CODE,
    RPC_SYSTEM_NAME,
    SERVER_ADDRESS,
    SERVER_PORT,
)
from causal_otel.patches.grpc import calls, serving

__all__ = ["PATCH", "GrpcOptions"]


@dataclass(frozen=True, kw_only=True)
class GrpcOptions(ClientOptions):
    """Options of the gRPC patch; see :class:`~causal_otel.instrument.options.ClientOptions`.

    Of a call the hooks are called with the span, the multi-callable of the method, and the positional and keyword
    arguments of the call; ``response_hook`` with the call as well. Of a call that is served they are called with the
    span and the ``HandlerCallDetails``.

    Args:
        excluded: methods, such as ``grpc.health.v1.Health/*``, called or served.
        propagate_to: to which hosts of channels the context is carried: names, ``*.example.com`` for all names that end
            so, ``*`` for every host, and ``internal`` for loopback, private addresses, names without a dot and those of
            local domains. A call of another host is recorded all the same.
        do_not_propagate_to: to which of them it is not.
        cpu_time: whether a call that is served tells how long its handler computed, and waited for its turn; None: what
            the setting ``cpu_time`` says, which is True by default.
    """

    propagate_to: tuple[str, ...] = ("*",)
    do_not_propagate_to: tuple[str, ...] = ()
    cpu_time: bool | None = None


PATCH = Patch(
    name="grpc",
    versions={"grpcio": ("1.60", "2")},
    distributions={"grpc": "grpcio"},
    options=GrpcOptions,
    targets=(*calls.TARGETS, *serving.TARGETS),
    records=(
        RPC_SYSTEM_NAME,
        RPC_METHOD,
        RPC_METHOD_ORIGINAL,
        RPC_RESPONSE_STATUS_CODE,
        SERVER_ADDRESS,
        SERVER_PORT,
        CLIENT_ADDRESS,
        ERROR_TYPE,
        CAUSAL_ABANDONED,
        CAUSAL_CANCELLED,
        CAUSAL_CPU,
        CAUSAL_FETCH,
        CAUSAL_LOOP_READY_WAIT,
        CAUSAL_SERVER,
    ),
    never=("messages", "metadata", "the details of a status, which may repeat values", "credentials"),
    metrics={SpanKind.CLIENT: RPC_CLIENT, SpanKind.SERVER: RPC_SERVER},
)
