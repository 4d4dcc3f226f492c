"""A TCP proxy before a server, whose answers come late: for waits of a known length that no server can be asked for."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator

__all__ = ["SlowServer", "slow"]


class SlowServer:
    """What stands before the server.

    Attributes:
        port: where it listens, on 127.0.0.1.
        delay: by how many seconds each of the server's answers is late, from now on.
        once: by how many seconds its next answer is.
    """

    def __init__(
        self,
        listener: socket.socket,
        address: tuple[str, int],
        tls: ssl.SSLContext | None = None,
        handshake: float = 0.0,
    ) -> None:
        self._tls = tls
        self._handshake = handshake
        self.port: int = listener.getsockname()[1]
        self.delay = 0.0
        self.once = 0.0
        self._listener = listener
        self._address = address
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._tls is not None:
                    time.sleep(self._handshake)
                    client = self._tls.wrap_socket(client, server_side=True)  # which closes it when this fails
                self._sockets.append(client)
                server = socket.create_connection(self._address)
                self._sockets.append(server)
                self._start(self._pass, client, server, False)
                self._start(self._pass, server, client, True)

    def _pass(self, source: socket.socket, target: socket.socket, late: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if late:
                    once, self.once = self.once, 0.0
                    time.sleep(once or self.delay)
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Break all connections off and stop."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(10)  # first: a connection that it has just accepted is one to be closed, too
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(10)


@contextlib.contextmanager
def slow(host: str, port: int, tls: ssl.SSLContext | None = None, handshake: float = 0.0) -> Iterator[SlowServer]:
    """A proxy before the server at ``host`` and ``port``; with TLS, whose handshake it begins so many seconds late."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = SlowServer(listener, (host, port), tls, handshake)
        try:
            yield proxy
        finally:
            proxy.close()
