"""A closer look at an address that spans cannot be delivered to: its name, its port, its TLS, and what it speaks.

The transports say what came of an attempt in the words of their libraries. Here each step is taken by itself, so that
it is known which of them fails, whatever those words are.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from causal_otel.settings import Settings

__all__ = ["Look", "look"]

_SECONDS = 3.0
"""For each step: connecting, the handshake, an answer."""

_ALERT_SECONDS = 1.0
"""For a server to say that it does not like the handshake."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""What a client of HTTP/2 begins with (RFC 9113): the preface, and SETTINGS without any. Servers of HTTP/1.1 refuse."""
_SETTINGS = 4
_ALERT = b"\x15\x03"

_EXPIRED, _WRONG_NAME = (9, 10), (62, 64)
"""OpenSSL's X509_V_ERR_*: not valid yet and expired; another host and another address. The others are the authority."""


class Look(NamedTuple):
    """What was seen.

    Attributes:
        stage: where it ended: ``name``, ``connect`` or ``connected``.
        problem: why it ended there.
        tls: whether the port speaks TLS; None: not seen.
        distrust: why its certificate is not trusted: ``authority``, ``name`` or ``expired``; empty: it is, or there is
            none.
        names: the names that its certificate is for, if that is what is wrong.
        client: whether it wants a certificate of the client's.
        speaks: ``http/1.1``, ``http/2``, ``something else`` or empty: it said nothing.
    """

    stage: str
    problem: str = ""
    tls: bool | None = None
    distrust: str = ""
    names: str = ""
    client: bool = False
    speaks: str = ""


def look(url: str, settings: Settings) -> Look:
    """Take the steps to ``url``, one after the other.

    Args:
        url: with scheme and host.
        settings: whose certificates count.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return Look("name", error.strerror or str(error))
    try:
        _connect(host, port).close()
    except OSError as error:
        return Look("connect", "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error))
    tls = _speaks_tls(host, port)
    seen = Look("connected", tls=tls)
    if not tls:
        with contextlib.suppress(OSError), _connect(host, port) as plain:
            return seen._replace(speaks=_spoken(plain))
        return seen
    return _secure(host, port, settings, seen)


def _connect(host: str, port: int) -> socket.socket:
    return socket.create_connection((host, port), _SECONDS)


def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _connect(host, port) as plain, context.wrap_socket(plain, server_hostname=host):
            return True
    except ssl.SSLError as error:
        # A port without TLS answers with what is no TLS, or not at all. Whatever else fails, it speaks it.
        return getattr(error, "reason", "") not in ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", None)
    except OSError:
        return False


def _secure(host: str, port: int, settings: Settings, seen: Look) -> Look:
    """The handshake again, with whom the settings trust and what they show."""
    try:
        context = ssl.create_default_context(cafile=settings.certificate or _authorities())
        if settings.client_certificate:
            context.load_cert_chain(settings.client_certificate, settings.client_key or None)
    except OSError as error:
        return seen._replace(problem=str(error))
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with _connect(host, port) as plain, context.wrap_socket(plain, server_hostname=host) as secure:
            if _is_closed(secure):
                return seen._replace(problem="it is closed after the handshake", client=not settings.client_certificate)
            if secure.selected_alpn_protocol() == "h2":
                return seen._replace(speaks="http/2")
            return seen._replace(speaks=_spoken(secure))
    except ssl.SSLCertVerificationError as error:
        code = error.verify_code
        distrust = "name" if code in _WRONG_NAME else "expired" if code in _EXPIRED else "authority"
        names = _names(host, port, context) if distrust == "name" else ""
        return seen._replace(distrust=distrust, problem=error.verify_message, names=names)
    except ssl.SSLError as error:
        reason = str(error.reason or error)
        client = "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason or "BAD_CERTIFICATE" in reason
        return seen._replace(problem=reason, client=client)
    except OSError as error:
        return seen._replace(problem=str(error))


def _is_closed(secure: ssl.SSLSocket) -> bool:
    """Whether the server closes the connection by itself.

    With TLS 1.3 a server that wants a certificate refuses after the handshake. Its alert is read before anything is
    sent: what is sent to a closed connection would have it reset, and the alert with it.
    """
    secure.settimeout(_ALERT_SECONDS)
    try:
        return not secure.recv(1)
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def _names(host: str, port: int, context: ssl.SSLContext) -> str:
    """Whom the certificate is for."""
    context.check_hostname = False
    try:
        with _connect(host, port) as plain, context.wrap_socket(plain, server_hostname=host) as secure:
            certificate: Any = secure.getpeercert() or {}
            return ", ".join(str(value) for _, value in certificate.get("subjectAltName", ()))
    except OSError:
        return ""


def _authorities() -> str | None:
    """The file of authorities that requests trusts where no other is given."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if path := os.environ.get(name):
            return path
    from requests.utils import DEFAULT_CA_BUNDLE_PATH

    return DEFAULT_CA_BUNDLE_PATH


def _spoken(connection: socket.socket) -> str:
    """What the other side answers a client of HTTP/2 with."""
    connection.settimeout(_SECONDS)
    try:
        connection.sendall(_PREFACE)
        first = connection.recv(64)
    except ssl.SSLError:
        raise
    except OSError:
        return ""
    if first[3:4] == bytes([_SETTINGS]):
        return "http/2"
    if first.startswith(b"HTTP/"):
        return "http/1.1"
    return "something else" if first and not first.startswith(_ALERT) else ""
