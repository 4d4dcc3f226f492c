"""What a call is, in the words of the conventions: its method, and the server that a channel's target names."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from opentelemetry.trace import SpanKind

from causal_otel.instrument.operation import Operation
from causal_otel.names import RPC_METHOD, RPC_METHOD_ORIGINAL, RPC_SYSTEM_NAME, SERVER_ADDRESS, SERVER_PORT

__all__ = ["Server", "called", "is_ours", "served", "server_of", "unknown"]

_CACHED = 1024  # methods; a client may ask for any
_LONGEST = 256  # characters of a method that does not exist
_OURS = "opentelemetry.proto.collector."


def is_ours(method: str) -> bool:
    """Whether a method is one by which spans, metrics and logs are exported: no call of the application's."""
    return method.startswith(_OURS)


class Server(NamedTuple):
    """Where a channel leads.

    Args:
        host: a name or an address; empty: it is not known.
        attributes: those of the conventions.
    """

    host: str
    attributes: dict[str, Any]


@functools.lru_cache(256)
def server_of(target: str) -> Server:
    """The server that a target names, as gRPC's name resolution has it: of several addresses the first.

    Args:
        target: such as ``shop:50051``, ``dns:///shop:50051``, ``ipv4:10.0.0.7:50051``, ``unix:/run/shop.sock``.
    """
    scheme, found, rest = target.partition(":")
    if found and scheme in ("unix", "unix-abstract"):
        path = rest.removeprefix("//")
        return Server("localhost", {SERVER_ADDRESS: path})
    if found and scheme in ("dns", "ipv4", "ipv6", "xds", "passthrough", "google-c2p"):
        target = rest.rpartition("/")[2] if rest.startswith("//") else rest
    target = target.partition(",")[0]
    host, colon, port = target.rpartition(":")
    if not colon or not port.isdecimal() or (":" in host and not host.startswith("[")):
        host, port = target, ""
    host = host.strip("[]")
    attributes: dict[str, Any] = {SERVER_ADDRESS: host} if host else {}
    if host and port:
        attributes[SERVER_PORT] = int(port)
    return Server(host, attributes)


def _attributes(method: str) -> dict[str, Any]:
    return {RPC_SYSTEM_NAME: "grpc", RPC_METHOD: method}


@functools.lru_cache(_CACHED)
def called(method: str, target: str) -> Operation:
    """A method that is called.

    Args:
        method: such as ``shop.Orders/Get``.
        target: the channel's; empty: it is not known.
    """
    return Operation(method, {**_attributes(method), **server_of(target).attributes})


@functools.lru_cache(_CACHED)
def served(method: str) -> Operation:
    """A method that is asked for."""
    return Operation(method, _attributes(method), kind=SpanKind.SERVER)


def unknown(method: str) -> Operation:
    """A method that a server does not have, which any client may call as it likes."""
    attributes = {**_attributes("_OTHER"), RPC_METHOD_ORIGINAL: method[:_LONGEST]}
    return Operation("grpc", attributes, kind=SpanKind.SERVER)
