"""HTTP servers and proxies by hand, one thread a connection, that are slow where a test wants them to be."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import h2.config
import h2.connection
import h2.events

from tests.patches.planted.waits import WAIT
from tests.patches.raw_http import read
from tests.waiting import pause

__all__ = [
    "Handler",
    "answering",
    "certificates",
    "full",
    "http2",
    "securing",
    "serving",
    "socks",
    "tunnelling",
]

Handler = Callable[[socket.socket], None]
"""What becomes of a connection that has been accepted."""


@contextlib.contextmanager
def serving(handle: Handler, listener: socket.socket | None = None) -> Iterator[int]:
    """Hand connections to ``handle`` for as long as the block lasts; yields the port.

    Args:
        handle: runs in a thread of its own for each connection, which is closed after it.
        listener: where to listen; default: a free port of 127.0.0.1.
    """
    listener = listener or socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []
    open_now: list[socket.socket] = []

    def run(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            handle(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                open_now.append(connection)
                threads.append(threading.Thread(target=run, args=(connection,)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()[1] if listener.family == socket.AF_INET else 0
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        accepting.join(10)
        listener.close()
        for connection in open_now:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)


def answering(before: float = 0.0, between: float = 0.0) -> Handler:
    """Answers requests, after so many seconds, with a body whose second half comes so many seconds later."""

    def handle(connection: socket.socket) -> None:
        while read(connection, b"\r\n\r\n"):
            pause(before)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
            pause(between)
            connection.sendall(b"later")

    return handle


def certificates() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server for 127.0.0.1 and a client that trusts it need."""
    import trustme

    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


def securing(context: ssl.SSLContext, handle: Handler, wait: float = 0.0) -> Handler:
    """Negotiates TLS, after so many seconds, and goes on with ``handle``."""

    def secure(connection: socket.socket) -> None:
        pause(wait)
        with context.wrap_socket(connection, server_side=True) as secured:
            handle(secured)

    return secure


def tunnelling(handle: Handler, wait: float = WAIT, status: bytes = b"200 OK") -> Handler:
    """A proxy that takes so many seconds over CONNECT, and is then what it was asked for."""

    def tunnel(connection: socket.socket) -> None:
        asked = read(connection, b"\r\n\r\n")
        assert asked.startswith(b"CONNECT ") or not asked
        pause(wait)
        connection.sendall(b"HTTP/1.1 " + status + b"\r\n\r\n")
        handle(connection)

    return tunnel


def socks(handle: Handler, wait: float = WAIT) -> Handler:
    """A SOCKS5 proxy that takes so many seconds to greet, and is then what it was asked for."""

    def greet(connection: socket.socket) -> None:
        connection.recv(3)
        pause(wait)
        connection.sendall(b"\x05\x00")
        connection.recv(64)
        connection.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        handle(connection)

    return greet


def http2(before: float = 0.0) -> Handler:
    """Answers requests over HTTP/2, after so many seconds."""

    def handle(connection: socket.socket) -> None:
        state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        state.initiate_connection()
        connection.sendall(state.data_to_send())
        while data := connection.recv(65536):
            for event in state.receive_data(data):
                if isinstance(event, h2.events.StreamEnded) and event.stream_id is not None:
                    pause(before)
                    state.send_headers(event.stream_id, [(":status", "200")])
                    state.send_data(event.stream_id, b"firstlater", end_stream=True)
            connection.sendall(state.data_to_send())

    return handle


@contextlib.contextmanager
def full(listener: socket.socket) -> Iterator[None]:
    """For as long as the block lasts, a listener with a backlog of none has no room for another connection."""
    with contextlib.ExitStack() as stack:
        while True:
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.1)
            try:
                waiting.connect(listener.getsockname())
            except TimeoutError:
                break
        yield
