"""Headers of WSGI: those that are recorded because they are named, those of proxies, and those that tell the trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from causal_otel._internal import faults
from causal_otel.names import NETWORK_PEER_ADDRESS, NETWORK_PEER_PORT
from causal_otel.patches._http_server.captured_headers import CapturedHeaders, Shortened
from causal_otel.patches._http_server.client_address import HEADERS, TrustedProxies
from causal_otel.patches._http_server.trace_headers import trace_headers

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from causal_otel.patches._http_server.options import HttpServerOptions

__all__ = [
    "Told",
    "captured_of_request",
    "captured_of_response",
    "peer_attributes",
    "telling",
    "with_headers",
    "without_proxies",
]

Told = tuple[tuple[str, str], ...]
"""The headers by which a response tells its trace."""

_BARE = ("CONTENT_LENGTH", "CONTENT_TYPE")  # keys of an environ that have no "HTTP_" before them


def _key(name: str) -> str:
    """A header's key in an environ."""
    key = name.upper().replace("-", "_")
    return key if key in _BARE else f"HTTP_{key}"


_OF_PROXIES = {_key(name): name for name in HEADERS}


def captured_of_request(wanted: CapturedHeaders, environ: Mapping[str, Any], shortened: Shortened) -> dict[str, Any]:
    """The attributes for the headers of a request that are recorded."""
    sent = [(name, environ.get(_key(name.decode("latin-1")))) for name in wanted.names]
    return wanted.of([(name, text.encode("latin-1")) for name, text in sent if text], shortened)


def captured_of_response(wanted: CapturedHeaders, headers: Any, shortened: Shortened) -> dict[str, Any]:
    """The attributes for those of a response."""
    return wanted.of([(name.encode("latin-1"), text.encode("latin-1")) for name, text in headers], shortened)


def without_proxies(proxies: TrustedProxies, environ: Mapping[str, Any], headers: dict[str, str]) -> Mapping[str, Any]:
    """The environ, with the client and the scheme that ``proxies`` tell of.

    Args:
        proxies: those that are trusted.
        environ: the request's. It is not changed.
        headers: the headers of interest, whose ``host`` is replaced.
    """
    sent = ((name, environ[key]) for key, name in _OF_PROXIES.items() if key in environ)
    told = proxies.told(environ.get("REMOTE_ADDR", ""), sent)
    changes: dict[str, Any] = {}
    if told.client is not None:
        changes["REMOTE_ADDR"] = told.client
    if told.scheme is not None:
        changes["wsgi.url_scheme"] = told.scheme
    if told.host:
        headers["host"] = told.host
    return {**environ, **changes} if changes else environ


def peer_attributes(environ: Mapping[str, Any]) -> dict[str, Any]:
    """Who has made the connection."""
    address, port = environ.get("REMOTE_ADDR"), environ.get("REMOTE_PORT", "")
    found: dict[str, Any] = {NETWORK_PEER_ADDRESS: address} if address else {}
    if found and str(port).isdecimal():
        found[NETWORK_PEER_PORT] = int(port)
    return found


def telling(options: HttpServerOptions, found: SpanContext) -> Told:
    """The headers that tell the trace, with the name in the case that the user has chosen."""
    own = options.trace_id_header or ""
    headers = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in trace_headers(options, found))
    return tuple((own if name == own.lower() else name, value) for name, value in headers)


def with_headers(headers: Any, ours: Told) -> Any:
    """A copy of ``headers`` with those of ours that the application has not set itself."""
    try:
        given = {name.lower() for name, _ in headers}
        missing = [header for header in ours if header[0].lower() not in given]
        return [*headers, *missing] if missing else headers
    except Exception:
        faults.report("wsgi: response's header")
        return headers
