"""What the HTTP patches share: URLs without secrets, methods of bounded number, ports by default."""

from __future__ import annotations

import functools
import os
import re
from urllib.parse import unquote_plus

from causal_otel._secrets import is_secret_parameter
from causal_otel.semconv import HTTP_REQUEST_METHOD, HTTP_REQUEST_METHOD_ORIGINAL

__all__ = ["DEFAULT_PORTS", "REDACTED", "method_attributes", "redact_query", "redact_url", "span_method"]

REDACTED = "REDACTED"
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

_OTHER = "_OTHER"
# Semantic conventions for HTTP: the list can be replaced, and the variable must have this name.
_METHODS = frozenset(
    filter(None, map(str.strip, os.environ.get("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "").split(",")))
) or frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})

# A value ends at "?" as well: it may itself be a URL that was put there unquoted.
_PAIR = re.compile(r"([^&;=?#]+)=([^&;?#]+)")
_CREDENTIALS = re.compile(r"^([^/?#]*//)[^/?#]*@")


def redact_query(query: str) -> str:
    """A URL's query, as it is but for the values of parameters whose names say that they are secret."""
    return _PAIR.sub(_redact_pair, query) if "=" in query else query


def redact_url(url: str) -> str:
    """A URL as :func:`redact_query` leaves it, and with ``REDACTED:REDACTED@`` for credentials before the host."""
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
    return is_secret_parameter(unquote_plus(name))


def span_method(method: str) -> str:
    """What a span's name calls ``method``: ``HTTP`` unless it is a known one."""
    return method if method in _METHODS else "HTTP"


def method_attributes(method: str) -> dict[str, str]:
    """The attributes that say which method, so that their values stay few whatever a client sends."""
    if method in _METHODS:
        return {HTTP_REQUEST_METHOD: method}
    return {HTTP_REQUEST_METHOD: _OTHER, HTTP_REQUEST_METHOD_ORIGINAL: method}
