"""URLs without secrets, and HTTP methods and ports as the semantic conventions ask for them.

Credentials before the host are replaced, and so are the values of parameters whose names say that they are secret.
"""

from __future__ import annotations

import functools
import os
import re
from typing import Any
from urllib.parse import unquote_plus

from causal_otel._internal.secrets import is_secret_parameter
from causal_otel.names import HTTP_REQUEST_METHOD, HTTP_REQUEST_METHOD_ORIGINAL, SERVER_ADDRESS, SERVER_PORT

__all__ = [
    "DEFAULT_PORTS",
    "REDACTED",
    "client_attributes",
    "method_attributes",
    "redact_query",
    "redact_url",
    "span_method",
]

REDACTED = "REDACTED"
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

_OTHER = "_OTHER"
# Semantic conventions for HTTP: an environment variable of this name replaces the list.
_METHODS = frozenset(
    filter(None, map(str.strip, os.environ.get("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "").split(",")))
) or frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})

# A value ends at "?" as well, because it may be a URL with parameters of its own that nobody has quoted.
_PAIR = re.compile(r"([^&;=?#]+)=([^&;?#]+)")
_CREDENTIALS = re.compile(r"^([^/?#]*//)[^/?#]*@")


def redact_query(query: str) -> str:
    """The query of a URL, with ``REDACTED`` for the value of each parameter whose name says that it is secret."""
    for name, _ in _PAIR.findall(query):
        if _is_secret(name):
            return _PAIR.sub(_redact_pair, query)
    return query


def redact_url(url: str) -> str:
    """A URL with query and fragment redacted, and with ``REDACTED:REDACTED@`` for credentials before the host."""
    if "@" in url:
        url = _CREDENTIALS.sub(rf"\1{REDACTED}:{REDACTED}@", url)
    for mark in "?#":
        if mark in url:
            start, _, rest = url.partition(mark)
            return f"{start}{mark}{redact_query(rest)}"
    return url


def _redact_pair(pair: re.Match[str]) -> str:
    return f"{pair[1]}={REDACTED}" if _is_secret(pair[1]) else pair[0]


@functools.lru_cache(1024)
def _is_secret(name: str) -> bool:
    # In `user[password]` and `tokens[]`, as forms are often sent, each part is a name.
    return any(map(is_secret_parameter, re.split(r"[\[\]]+", unquote_plus(name))))


def span_method(method: str) -> str:
    """The method in the name of a span: ``HTTP`` unless it is a known one."""
    return method if method in _METHODS else "HTTP"


def method_attributes(method: str) -> dict[str, str]:
    """The attributes of the method: ``_OTHER`` unless it is a known one, because a client may send any."""
    if method in _METHODS:
        return {HTTP_REQUEST_METHOD: method}
    return {HTTP_REQUEST_METHOD: _OTHER, HTTP_REQUEST_METHOD_ORIGINAL: method}


def client_attributes(method: str, scheme: str, host: str, port: int | None) -> dict[str, Any]:
    """What all requests of a client with one method to one server have in common.

    Args:
        method: as it is sent.
        scheme: of the URL.
        host: the server's name or address, without brackets.
        port: None: the scheme's own.
    """
    attributes: dict[str, Any] = {**method_attributes(method), SERVER_ADDRESS: host}
    port = port or DEFAULT_PORTS.get(scheme)
    if port is not None:
        attributes[SERVER_PORT] = port
    return attributes
