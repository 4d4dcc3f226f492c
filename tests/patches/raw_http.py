"""HTTP by hand, for requests that no client would send and for clients that leave."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

__all__ = ["ask", "connected", "read"]


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    """A connection to a server, which is closed on leaving."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), 60) as connection:
        yield connection


def ask(
    connection: socket.socket,
    path: str,
    *,
    method: str = "GET",
    length: int = 0,
    body: bytes = b"",
    headers: Sequence[tuple[str, str]] = (),
) -> None:
    """Send a request that announces a body of ``length`` and has one that is ``body``."""
    head = f"{method} {path} HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\nContent-Length: {length}\r\n"
    more = "".join(f"{name}: {value}\r\n" for name, value in headers)
    connection.sendall(f"{head}{more}\r\n".encode("latin-1") + body)


def read(connection: socket.socket, end: bytes | None = None) -> bytes:
    """All that comes, up to ``end`` or the end of the connection."""
    received = b""
    while (end is None or end not in received) and (chunk := connection.recv(65536)):
        received += chunk
    return received
