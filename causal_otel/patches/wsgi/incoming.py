"""What a WSGI environ says about a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from causal_otel.instrument.exclusion import canonical_url
from causal_otel.names import (
    CLIENT_ADDRESS,
    NETWORK_PROTOCOL_VERSION,
    SERVER_ADDRESS,
    SERVER_PORT,
    URL_PATH,
    URL_QUERY,
    URL_SCHEME,
    USER_AGENT_ORIGINAL,
)
from causal_otel.patches._http_server import HeadersOfInterest, authority
from causal_otel.statements.urls import DEFAULT_PORTS, method_attributes, redact_query

if TYPE_CHECKING:
    from causal_otel.patches._http_server.client_address import TrustedProxies

__all__ = ["as_scope", "headers_of_interest", "request_attributes", "request_url", "without_proxies"]

_interest = HeadersOfInterest(lambda name: f"HTTP_{name.upper().replace('-', '_')}")


def headers_of_interest(environ: Mapping[str, Any]) -> dict[str, str]:
    """The headers that tracing reads. A server has joined the values of one that was sent several times."""
    return {name: environ[key] for key, name in _interest.names().items() if key in environ}


def as_scope(environ: Mapping[str, Any]) -> dict[str, Any]:
    """What an ASGI server would say of the connection and the headers, for options that read these."""
    peer, port = environ.get("REMOTE_ADDR"), environ.get("REMOTE_PORT", "")
    headers = [
        (_header_name(key), value.encode("latin-1"))
        for key, value in environ.items()
        if key.startswith("HTTP_") or key in ("CONTENT_LENGTH", "CONTENT_TYPE")
    ]
    client = (peer, int(port) if str(port).isdecimal() else 0) if peer else None
    return {"type": "http", "client": client, "scheme": environ.get("wsgi.url_scheme", "http"), "headers": headers}


def _header_name(key: str) -> bytes:
    return key.removeprefix("HTTP_").replace("_", "-").lower().encode("latin-1")


def without_proxies(
    environ: Mapping[str, Any], scope: Mapping[str, Any], headers: dict[str, str], proxies: TrustedProxies
) -> Mapping[str, Any]:
    """The environ as it would be without the proxies that are trusted. It is not changed, ``headers`` may be.

    Args:
        environ: the request's.
        scope: what :func:`as_scope` makes of it.
        headers: the headers of interest.
        proxies: who is trusted.
    """
    asked = proxies.asked(scope, headers)
    client = asked["client"]
    return {**environ, "REMOTE_ADDR": client[0] if client else "", "wsgi.url_scheme": asked["scheme"]}


def request_url(environ: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """The URL asked for, in the form that patterns of excluded URLs are compared with."""
    address, port = _server(environ, headers)
    # A server on a Unix socket may have no address, or the socket's path.
    host = address if address and "/" not in address else ""
    return canonical_url(environ.get("wsgi.url_scheme", "http"), host, port, _path(environ))


def request_attributes(environ: Mapping[str, Any], method: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """What is known of a request when it arrives.

    Args:
        environ: the request's.
        method: its method.
        headers: the headers of interest.
    """
    scheme = environ.get("wsgi.url_scheme", "http")
    attributes: dict[str, Any] = {**method_attributes(method), URL_SCHEME: scheme, URL_PATH: _path(environ)}
    query = environ.get("QUERY_STRING")
    if query:
        attributes[URL_QUERY] = redact_query(query)
    address, port = _server(environ, headers)
    if address:
        attributes[SERVER_ADDRESS] = address
        port = port or DEFAULT_PORTS.get(scheme)
        if port is not None:
            attributes[SERVER_PORT] = port
    client = environ.get("REMOTE_ADDR")
    if client:
        attributes[CLIENT_ADDRESS] = client
    if "user-agent" in headers:
        attributes[USER_AGENT_ORIGINAL] = headers["user-agent"]
    protocol, _, version = environ.get("SERVER_PROTOCOL", "").partition("/")
    if protocol == "HTTP" and version:
        attributes[NETWORK_PROTOCOL_VERSION] = version.removesuffix(".0") if version[0] in "23" else version
    return attributes


def _path(environ: Mapping[str, Any]) -> str:
    """The whole path, as ASGI has it: WSGI's strings are the bytes, read as Latin-1."""
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return path if path.isascii() else path.encode("latin-1").decode("utf-8", "replace")


def _server(environ: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[str | None, int | None]:
    """The address and the port that were asked, where they are known."""
    host = headers.get("host")
    address, port = (None, None) if host is None else authority(host)
    if address is not None:
        return address, port
    port_text = environ.get("SERVER_PORT", "")
    return environ.get("SERVER_NAME"), int(port_text) if port_text.isdecimal() else None
