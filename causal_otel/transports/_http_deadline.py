"""HTTP answers that are read until a deadline and no longer, however slowly the other side sends its bytes.

A socket's timeout is for one read. If a server sends a byte a second, no read times out, and the standard library goes
on until it has the status and all headers. So here the timeout of each read is what is left until the deadline.

The first bytes are checked as well: a server that speaks something else, such as gRPC, never sends the end of a line.
"""

from __future__ import annotations

import http.client
import io
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["bounded"]

_BEGINNING = b"HTTP/"
_SHOWN_BYTES = 64


class _UntilDeadline(io.RawIOBase):
    """Reads from a socket, and raises :class:`TimeoutError` when the time is up, or BadStatusLine at once."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: Callable[[], float]) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self._begun = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline() - time.monotonic()
        if left <= 0:
            raise TimeoutError("no complete answer in time")
        self._sock.settimeout(left)
        count = self._raw.readinto(buffer)
        if count and not self._begun:
            self._begun = True
            first = bytes(buffer[:count])
            if first[:5] != _BEGINNING[:count]:
                raise http.client.BadStatusLine(first[:_SHOWN_BYTES].decode("latin-1"))
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


def bounded(connection: type[Any], deadline: Callable[[], float]) -> type[Any]:
    """The connection class ``connection``, with answers that are read until ``deadline`` and no longer.

    Args:
        connection: an :class:`http.client.HTTPConnection` class, such as urllib3's are.
        deadline: asked at each read; by ``time.monotonic()``.
    """

    class Response(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            self.fp: Any = io.BufferedReader(_UntilDeadline(self.fp.detach(), sock, deadline))

    return type(connection.__name__, (connection,), {"response_class": Response})
