"""Sockets to listen on, and what to tell who finds a port taken."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl

__all__ = ["PortInUse", "authority", "listen"]

_PROBE_SECONDS = 1.0
_OTLP_HTTP_OPTION = "--otlp-http-port"


class PortInUse(Exception):
    """Somebody else listens on a port. The message names it, and the option that chooses another."""


def listen(host: str, port: int, option: str) -> socket.socket:
    """A socket that listens; connections wait in it until somebody accepts them.

    Args:
        host: an address, or a name: then its first address.
        port: the port; 0: a free one.
        option: what chooses another port, for the messages.

    Raises:
        PortInUse: The port is taken.
        OSError: The address cannot be listened on.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise OSError(f"{host} cannot be listened on ({error.strerror}); --host chooses another address") from None
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections in TIME_WAIT do not count as taken
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(_in_use(host, port, option)) from None
        raise OSError(
            f"port {port} of {host} cannot be listened on ({error.strerror}); --host and {option} choose another"
        ) from None
    return listener


def authority(host: str, port: int) -> str:
    """Host and port as a URL has them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _in_use(host: str, port: int, option: str) -> str:
    taken = f"port {port} of {host} is in use"
    if option == _OTLP_HTTP_OPTION and _speaks_otlp(host, port):
        return (
            f"{taken}: what listens there takes OTLP, so a collector is running already. Send spans to it, "
            f"or choose another port with {option}"
        )
    return f"{taken}; choose another one with {option} (0: a free one)"


def _speaks_otlp(host: str, port: int) -> bool:
    """Whether a request without spans is answered there as OTLP/HTTP is, with TLS or without."""
    context = ssl.create_default_context()
    context.check_hostname = False  # nothing is sent that anybody may not see
    context.verify_mode = ssl.CERT_NONE
    for connection in (
        http.client.HTTPConnection(host, port, timeout=_PROBE_SECONDS),
        http.client.HTTPSConnection(host, port, timeout=_PROBE_SECONDS, context=context),
    ):
        try:
            connection.request("POST", "/v1/traces", b"", {"Content-Type": "application/x-protobuf"})
            answer = connection.getresponse()
            if answer.getheader("content-type", "").startswith("application/x-protobuf"):
                return answer.status in (200, 401, 403)
        except (OSError, http.client.HTTPException):
            continue
        finally:
            connection.close()
    return False
