"""Why there was no HTTP answer to an export: in words that people know, naming the proxy and the setting to look at."""

from __future__ import annotations

import re
from http.client import BadStatusLine, RemoteDisconnected
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from causal_otel.transports.transport import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["innermost", "no_answer"]

_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})\s*(.*)")
_SETTINGS_FRAME = 4
_GRPC_PORT = 4317
_SPEAKS_GRPC = "set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or send to the port for HTTP, which is 4318 by default"
_CREDENTIALS_OF_PROXY = "check the proxy's address and credentials in HTTPS_PROXY or HTTP_PROXY"


def no_answer(error: Exception, url: str, proxy: str, *, late: bool) -> Outcome:
    """What an exception means.

    Args:
        error: raised by the session or by its pool of connections.
        url: where the request was to go.
        proxy: the URL of the proxy in between, without credentials; empty: there is none.
        late: whether it is a timeout.
    """
    cause = innermost(error)
    kind, text = type(cause).__qualname__, str(cause) or type(cause).__qualname__
    port = urlsplit(url).port
    tunnel = _TUNNEL.search(text)
    if tunnel is not None:
        verdict = Verdict.MISCONFIGURED if tunnel[1] < "500" else Verdict.UNREACHABLE
        detail = f"the proxy {proxy} refused the connection: {tunnel[1]} {tunnel[2]}"
        return Outcome(verdict, tunnel[1], detail, advice=_CREDENTIALS_OF_PROXY)
    if isinstance(cause, BadStatusLine) and not isinstance(cause, RemoteDisconnected):
        return _no_http(str(cause.args[0]), port)
    if getattr(cause, "reason", "") == "WRONG_VERSION_NUMBER":  # of ssl.SSLError
        detail = f"port {port or 443} speaks no TLS"
        return Outcome(Verdict.MISCONFIGURED, kind, detail, advice="begin the endpoint with http://")
    if late:
        kind, text = "timeout", "no answer in time"
    if proxy and any(type(one).__name__ == "ProxyError" for one in _chain(error)):
        detail = f"the proxy {proxy} cannot be reached: {text}"
        return Outcome(Verdict.UNREACHABLE, kind, detail, advice=_CREDENTIALS_OF_PROXY)
    if proxy:
        text += f" (through the proxy {proxy})"
    # A gRPC server may also break the connection off, or wait for more.
    suspicious = port == _GRPC_PORT and (late or isinstance(cause, ConnectionResetError))
    advice = f"port {_GRPC_PORT} is usually gRPC's: {_SPEAKS_GRPC}" if suspicious else ""
    # What was wrong with the connection may pass; what is wrong with the URL or a certificate may be put right.
    return Outcome(Verdict.UNREACHABLE, kind, text, advice=advice)


def _no_http(line: str, port: int | None) -> Outcome:
    """The answer began with ``line``, which no answer of HTTP/1.1 does."""
    first = line.encode("latin-1", "replace")
    if first[3:4] == bytes([_SETTINGS_FRAME]) and first[:1] == b"\0":  # a frame's length (3 bytes) and its type
        detail, advice = f"port {port} speaks HTTP/2, as gRPC does, and was sent HTTP/1.1", _SPEAKS_GRPC
    elif first[:2] == b"\x15\x03":  # an alert of TLS
        detail, advice = f"port {port} speaks TLS", "begin the endpoint with https://"
    else:
        shown = "".join(letter if letter.isprintable() else "." for letter in line[:40])
        detail, advice = f"the answer is no HTTP: it begins with {shown!r}", "check the port of the endpoint"
    return Outcome(Verdict.MISCONFIGURED, "no_http", detail, advice=advice)


def innermost(error: BaseException) -> BaseException:
    """The cause that people recognise: "Connection refused" and not four layers of pools around it."""
    *_, cause = _chain(error)
    return cause


def _chain(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__context__
