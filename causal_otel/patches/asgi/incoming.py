"""What an ASGI scope says about a request: its parent, and its attributes."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from causal_otel.instrument.exclusion import canonical_url
from causal_otel.names import (
    CLIENT_ADDRESS,
    NETWORK_PROTOCOL_NAME,
    NETWORK_PROTOCOL_VERSION,
    SERVER_ADDRESS,
    SERVER_PORT,
    URL_PATH,
    URL_QUERY,
    URL_SCHEME,
    USER_AGENT_ORIGINAL,
)
from causal_otel.patches._http_server import HeadersOfInterest, authority
from causal_otel.patches.asgi.protocol import Scope
from causal_otel.statements.urls import DEFAULT_PORTS, method_attributes, redact_query

__all__ = ["headers_of_interest", "request_attributes", "request_url"]

_interest = HeadersOfInterest(lambda name: name.encode("latin-1"))


def headers_of_interest(scope: Scope) -> dict[str, str]:
    """The headers that tracing reads, in one pass, decoded as Latin-1, which accepts any bytes.

    Values of a header that was sent several times are joined. Two ``traceparent`` headers thus make an invalid one.

    An iterator of headers becomes a list in the scope, as Starlette has it: ASGI allows any iterable.
    """
    headers = scope.get("headers", ())
    if not isinstance(headers, list | tuple):
        headers = scope["headers"] = list(headers)
    wanted = _interest.names()
    found: dict[str, str] = {}
    for raw, value in headers:
        name = wanted.get(raw)
        if name is not None:
            text = value.decode("latin-1")
            found[name] = f"{found[name]},{text}" if name in found else text
    return found


def request_url(scope: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """The URL asked for, in the form that patterns of excluded URLs are compared with."""
    scheme = _scheme(scope)
    address, port = _asked(headers.get("host"), _server(scope))
    # A server on a Unix socket may have no address, or the socket's path.
    return canonical_url(scheme, address if address and "/" not in address else "", port, scope.get("path", ""))


def request_attributes(scope: Mapping[str, Any], method: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """What is known of a request when it arrives.

    Args:
        scope: of the type ``http`` or ``websocket``.
        method: the request's method.
        headers: the headers of interest.
    """
    common = _of_host(method, _scheme(scope), headers.get("host"), _server(scope))
    attributes = {**common, URL_PATH: scope.get("path", "")}
    query = scope.get("query_string")
    if query:
        attributes[URL_QUERY] = redact_query(query.decode("latin-1"))
    client = scope.get("client")
    if client:
        attributes[CLIENT_ADDRESS] = client[0]
    if "user-agent" in headers:
        attributes[USER_AGENT_ORIGINAL] = headers["user-agent"]
    if scope["type"] == "websocket":
        attributes[NETWORK_PROTOCOL_NAME] = "websocket"
    version = scope.get("http_version")
    if version:
        attributes[NETWORK_PROTOCOL_VERSION] = version
    return attributes


def _scheme(scope: Mapping[str, Any]) -> str:
    return scope.get("scheme") or ("ws" if scope["type"] == "websocket" else "http")


def _server(scope: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """The address and the port that the server listens on, where it knows them."""
    server = scope.get("server")
    return (None, None) if not server else server if type(server) is tuple else tuple(server)


def _asked(host: str | None, server: tuple[str | None, int | None]) -> tuple[str | None, int | None]:
    """The address and the port that were asked, where they are known."""
    address, port = (None, None) if host is None else authority(host)
    return server if address is None else (address, port)


@functools.lru_cache(256)
def _of_host(method: str, scheme: str, host: str | None, server: tuple[str | None, int | None]) -> dict[str, Any]:
    """The attributes that the requests to one host have in common. Nobody changes the dict."""
    attributes: dict[str, Any] = {**method_attributes(method), URL_SCHEME: scheme}
    address, port = _asked(host, server)
    if address is not None:
        attributes[SERVER_ADDRESS] = address
        port = port or DEFAULT_PORTS.get(scheme)
        if port is not None:
            attributes[SERVER_PORT] = port
    return attributes
